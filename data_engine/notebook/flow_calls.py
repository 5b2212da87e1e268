"""Calls of a Flow that do not do what their author reads in them, as the text of a function tells before anything runs: a step
whose flow nobody keeps or reads, and steps made in a loop that all take its last value; and which step saves what. Pure."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from typing import TypeGuard

from data_engine.flow.spec import title_words
from data_engine.formatting import beginning, first_few
from data_engine.record import frozen

_VERBS = {
    "alert": "alert",
    "check": "check",
    "collect": "step",
    "expect": "expectation",
    "map": "step",
    "mirror": "mirror",
    "params": "parameters",
    "step": "step",
    "step_each": "step",
    "watch": "trigger",
}
"""The verbs that give another Flow, and what is lost with it."""

_STEPS = ("step", "map", "step_each")
_SAVERS = (*_STEPS, "collect", "check")
_READ_ALL = ("locals", "vars", "eval", "exec")
_LONGEST_CALL = 60
_INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@frozen
class DoubtfulCall:
    """A call that its author hardly means, its fix, and the line where it stands (of a file, a cell or a function). `saves` are the names that steps lost with it save."""

    line: int
    message: str
    fix: str
    saves: tuple[str, ...] = ()


def may_hold_flow(text: str | bytes, *, is_build: bool = False) -> bool:
    """Whether a function in this text can have a flow, before anything of it is looked at: it makes one, or the text `is_build` of a
    notebook, whose `build()` has one wherever it comes from.

    Example:
        >>> may_hold_flow(b"flow = Flow('A')"), may_hold_flow("def add(flow): ..."), may_hold_flow("def build(): ...", is_build=True)
        (True, False, True)
    """
    return is_build or (b"Flow" in text if isinstance(text, bytes) else "Flow" in text)


def doubtful_calls(statement: ast.stmt) -> list[DoubtfulCall]:
    """The doubtful calls in a function, in the order of their lines; none in any other statement.

    Names count as flows where the text shows it: what `Flow(...)` or a flow gives, and in `build` what it returns.

    Example:
        >>> text = "def build():\\n    flow = Flow('A')\\n    flow.step(add, save_as='b')\\n    return flow"
        >>> [call] = doubtful_calls(ast.parse(text).body[0])
        >>> call.line, call.message, call.fix
        (3, "build() drops what `flow.step(add, save_as='b')` gives, so this step is lost: a Flow does not change", 'write `flow = flow.step(...)`')
    """
    if not isinstance(statement, ast.FunctionDef):
        return []
    own = list(_own(statement.body))
    flows = _flow_names(statement, own)
    found = [*_dropped(statement, own, flows), *_late_names(own, flows)]
    return sorted(found, key=lambda one: one.line)


def doubtful_calls_of(function: object) -> list[DoubtfulCall]:
    """The doubtful calls in a function that is defined, by its text; none where that is not at hand. Lines count in the function.

    Example:
        >>> doubtful_calls_of(len)
        []
    """
    try:
        [statement] = ast.parse(inspect.getsource(function)).body  # type: ignore[arg-type]
    except (OSError, TypeError, ValueError, SyntaxError):
        return []
    return doubtful_calls(statement)


def calls_its_steps(function: ast.FunctionDef) -> bool:
    """Whether a function calls `.steps(...)` of a flow, which is the tuple of its steps.

    Example:
        >>> calls_its_steps(ast.parse("def build():\\n    return Flow('A').steps(add)").body[0])
        True
    """
    own = list(_own(function.body))
    attributes = [node.func for node in own if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    of_steps = [one.value for one in attributes if one.attr == "steps"]
    if not of_steps:
        return False
    flows = _flow_names(function, own, returned=False)
    return any(_gives_flow(one, flows) for one in of_steps)


def saver_of(name: str, statement: ast.stmt) -> str | None:
    """The label of the step in a statement that saves its result under this name; None without one.

    Example:
        >>> saver_of("raw_df", ast.parse("Flow('A').step(read_sales, save_as='raw_df').step(clean)").body[0])
        'Read Sales'
        >>> saver_of("read_sales", ast.parse("Flow('A').step(read_sales, save_as='raw_df')").body[0]) is None
        True
    """
    for call in ast.walk(statement):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in _SAVERS:
            given = {one.arg: one.value.value for one in call.keywords if isinstance(one.value, ast.Constant)}
            if given.get("save_as") == name:
                return str(given.get("label") or _default_label(call, call.func.attr))
    return None


def _default_label(call: ast.Call, verb: str) -> str:
    """The label of a step that is given none, as `Flow` makes it."""
    if verb == "collect":
        return "Collect Files"
    if verb == "check":
        return "Check"
    function = call.args[0] if call.args else call
    if isinstance(function, ast.Lambda):
        return "Lambda"
    named = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return title_words(named, "Step")


def _flow_names(function: ast.FunctionDef, own: Sequence[ast.AST], *, returned: bool = True) -> set[str]:
    """The names that hold a flow in a function with these nodes; with `returned` also what `build` returns, whatever made it."""
    names: set[str] = set()
    if returned and function.name == "build":
        roots = [_chain(node.value)[0] for node in own if isinstance(node, ast.Return) and node.value is not None]
        names.update(root.id for root in roots if isinstance(root, ast.Name))
    size = -1
    while size != len(names):
        size = len(names)
        for node in own:
            if (
                isinstance(node, (ast.Assign, ast.AnnAssign))
                and node.value is not None
                and _gives_flow(node.value, names)
            ):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def _gives_flow(node: ast.expr, flows: set[str]) -> bool:
    """Whether this is `Flow(...)` or a flow, with or without verbs behind it."""
    root, verbs = _chain(node)
    if not all(verb in _VERBS for verb in verbs):
        return False
    if isinstance(root, ast.Call):
        made = root.func.attr if isinstance(root.func, ast.Attribute) else getattr(root.func, "id", None)
        return made == "Flow"
    return isinstance(root, ast.Name) and root.id in flows


def _chain(node: ast.expr) -> tuple[ast.expr, list[str]]:
    """What a chain of calls begins with, and the methods called on it, the last one first."""
    verbs = []
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr != "Flow":
        verbs.append(node.func.attr)
        node = node.func.value
    return node, verbs


# -- dropped -----------------------------------------------------------------------------------------------------------


def _dropped(function: ast.FunctionDef, own: Sequence[ast.AST], flows: set[str]) -> Iterator[DoubtfulCall]:
    for node in own:
        if not isinstance(node, (ast.Expr, ast.Assign, ast.AnnAssign)) or not isinstance(node.value, ast.Call):
            continue
        root, verbs = _chain(node.value)
        if not verbs or not _gives_flow(node.value, flows):
            continue
        name = _name_given(node)
        if not isinstance(node, ast.Expr) and (not name or _is_read_after(node, name, function)):
            continue
        lost = list(dict.fromkeys(_VERBS[verb] for verb in reversed(verbs)))
        told = beginning(" ".join(ast.unparse(node.value).split()), _LONGEST_CALL)
        yield DoubtfulCall(
            node.lineno,
            f"{function.name}() drops what `{told}` gives, so this {' and '.join(lost)} is lost: a Flow does not change",
            _kept(root, verbs[-1], name),
            tuple(_saved(node.value)),
        )


def _kept(root: ast.expr, verb: str, name: str) -> str:
    """The fix; `name` is what nobody reads."""
    written = f"write `{root.id} = {root.id}.{verb}(...)`" if isinstance(root, ast.Name) and root.id != name else ""
    if name:
        return f"return `{name}`, which nothing reads" + (f", or {written}" if written else "")
    return written or "give it a name, or return it"


def _name_given(node: ast.stmt) -> str:
    """The one name that a statement gives a value; "" for a name that says it is not read (`_`), and for anything else."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    found = [target.id for target in targets if isinstance(target, ast.Name)]
    return found[0] if len(targets) == len(found) == 1 and not found[0].startswith("_") else ""


def _is_read_after(given: ast.stmt, name: str, function: ast.FunctionDef) -> bool:
    """Whether anything of a function may read what this statement binds: below it, in a loop around it, or in a function inside."""
    below = (given.end_lineno or given.lineno, given.end_col_offset or 0)
    for node in ast.walk(function):
        if isinstance(node, (ast.Global, ast.Nonlocal)) and name in node.names:
            return True
        if _reads(node, name) and (node.lineno, node.col_offset) >= below:
            return True
        is_loop_around = isinstance(node, (ast.For, ast.While)) and given in ast.walk(node)
        is_inside = isinstance(node, _INNER) and node is not function
        if (is_loop_around or is_inside) and any(_reads(part, name) for part in ast.walk(node)):
            return True
    return False


def _reads(node: ast.AST, name: str) -> TypeGuard[ast.Name]:
    """Whether this reads the name; `locals()` and its like read all."""
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in (name, *_READ_ALL)


def _saved(call: ast.expr) -> Iterator[str]:
    while isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        for given in call.keywords:
            if given.arg == "save_as" and isinstance(given.value, ast.Constant):
                yield str(given.value.value)
        call = call.func.value


# -- steps in a loop ---------------------------------------------------------------------------------------------------


def _late_names(own: Sequence[ast.AST], flows: set[str]) -> Iterator[DoubtfulCall]:
    """The functions given to steps in a loop that read a name of the loop when they run, and so its last value."""
    told: set[ast.AST] = set()
    for loop in own:  # a loop before those inside it
        if not isinstance(loop, (ast.For, ast.While)):
            continue
        turns = list(_own(loop.body))
        bound = [*turns, *(ast.walk(loop.target) if isinstance(loop, ast.For) else ())]
        varying = {node.id for node in bound if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)} - flows
        defined = {node.name: node for node in turns if isinstance(node, ast.FunctionDef)}
        for call in turns:
            if not isinstance(call, ast.Call) or not call.args or not _is_step(call, flows):
                continue
            given = call.args[0]
            made = defined.get(given.id) if isinstance(given, ast.Name) else given
            if not isinstance(made, (ast.Lambda, ast.FunctionDef)) or made in told:
                continue
            told.add(made)
            if late := sorted(_read_late(made) & varying):
                yield _late_words(made, late)


def _is_step(call: ast.Call, flows: set[str]) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in _STEPS and _gives_flow(call, flows)


def _read_late(made: ast.Lambda | ast.FunctionDef) -> set[str]:
    """The names that a function reads when it is called, and are none of its own."""
    arguments = {one.arg for one in ast.walk(made.args) if isinstance(one, ast.arg)}
    body = made.body if isinstance(made.body, list) else [made.body]
    names = [node for part in body for node in ast.walk(part) if isinstance(node, ast.Name)]
    inner = {one.arg for part in body for one in ast.walk(part) if isinstance(one, ast.arg)}
    own = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    return {node.id for node in names if isinstance(node.ctx, ast.Load)} - arguments - inner - own


def _late_words(made: ast.Lambda | ast.FunctionDef, late: list[str]) -> DoubtfulCall:
    names, defaults = first_few([f"`{name}`" for name in late], 3), ", ".join(f"{name}={name}" for name in late)
    given = made.args.args[0].arg if made.args.args else "context"
    written = (
        f"lambda {given}, {defaults}: ..." if isinstance(made, ast.Lambda) else f"def {made.name}({given}, {defaults}):"
    )
    return DoubtfulCall(
        made.lineno,
        f"the steps made in this loop read {names} when they run, so all of them take the last value",
        f"bind it where the step is made: `{written}`",
    )


def _own(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """All below these statements, but not what stands inside a function or class defined there."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _INNER):
            waiting.extend(ast.iter_child_nodes(node))
