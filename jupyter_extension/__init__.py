"""The part of Data Engine in Jupyter: displays, `%flow`, the panel and its server."""
