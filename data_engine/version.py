"""What is installed: the version of the product, which the build reads here, and where Python finds it."""

__version__ = "0.1.0"


def import_folder() -> str:
    """The folder that must be on a child's `sys.path` for it to import this very package."""
    import os.path

    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
