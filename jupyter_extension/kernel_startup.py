"""What each kernel of `data-engine lab` executes first, as PYTHONSTARTUP: it loads `%flow`, also after a restart, and then does what
the person's own such file says. It leaves no name of its own."""


def _start(names: dict[str, object]) -> None:
    import os
    import sys
    from contextlib import suppress

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        with suppress(ImportError):  # in a kernel of another environment
            shell.run_line_magic("load_ext", "data_engine")
    if own := os.environ.get("DATA_ENGINE_PYTHONSTARTUP"):
        with open(own, "rb") as file:
            exec(compile(file.read(), own, "exec"), names)


_start(globals())
del _start
