"""The PYTHONSTARTUP of each kernel of a Jupyter server with our extension, also after a restart: it gives `%flow`, loaded at once in a
kernel of `data-engine lab` and elsewhere at its first use, then runs the person's own start-up file. It leaves no name of its own."""


def _start(names: dict[str, object]) -> None:
    import os
    import sys
    from contextlib import suppress

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        with suppress(ImportError, AttributeError):  # in a kernel of another environment, or with an old IPython
            if "DATA_ENGINE_WORKSPACE_ROOT" in os.environ:
                shell.run_line_magic("load_ext", "data_engine")
            else:
                shell.magics_manager.register_lazy("flow", "data_engine")
    if own := os.environ.get("DATA_ENGINE_PYTHONSTARTUP"):
        with open(own, "rb") as file:
            exec(compile(file.read(), own, "exec"), names)


_start(globals())
del _start
