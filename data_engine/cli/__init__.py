"""The command line, `data-engine`: one module per idea, and what they print in `output.py`."""
