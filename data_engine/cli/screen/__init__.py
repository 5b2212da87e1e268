"""The screen of `data-engine status --watch`: what it shows and what its keys do are pure; `show.py` alone touches the terminal."""
