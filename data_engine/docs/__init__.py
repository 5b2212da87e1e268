"""The documentation: its pages, and what makes a site of them, the glossary, the guides and the docstrings."""
