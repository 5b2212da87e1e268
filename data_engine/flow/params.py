"""What a run was given by hand."""

from __future__ import annotations

from typing import Any

from data_engine.errors import MissingParamError
from data_engine.flow.suggestions import nearest_name


class GivenParams(dict[str, Any]):
    """What a run was given; a name it was not given is an error that says how to give it."""

    def __missing__(self, name: object) -> Any:
        near = nearest_name(str(name), self)
        offer = f"did you mean {near!r}? Otherwise give" if near else "give"
        raise MissingParamError(
            f"the run was given no param {name!r}; it was given: {', '.join(map(repr, self)) or 'none'}",
            where="context.params",
            fix=f"{offer} it: params={{{name!r}: ...}} in preview() and run_once(), --param {name}=... on the command line; "
            f"a flow that runs by itself is given none: context.params.get({name!r}, default)",
        )
