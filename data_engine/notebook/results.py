"""What calls of imported functions and of methods give: its kind, what it may be and what it may hold."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

from data_engine.notebook import effects, kinds, learning, streams
from data_engine.notebook.bindings import module_of
from data_engine.notebook.own_code import Given, OwnCode
from data_engine.notebook.values import NOBODY_KNOWS, NONE, PLAIN, Origin, Value, element, join

_GIVES_ELEMENT = frozenset({"min", "max", "next", "getattr", "copy.copy", "functools.partial", "sum", "random.choice",
     "heapq.heappop"})  # fmt: skip
_PICKS = frozenset({"min", "max", "sum", "random.choice", "heapq.heappop"})
_GIVE_ELEMENT = frozenset({"pop", "popleft", "popitem", "get", "setdefault"})
_KEEPS_PARTS = kinds.TABLES | kinds.TRAINED | {kinds.PLOT, kinds.RELATION}
_NEW_LAST_PART = frozenset({"joinpath", "with_name"})
DUCKDB = Value(kinds.RELATION, frozenset({("database", "duckdb")}))
"""The database that `duckdb.sql()` and its like use."""
_SEEN_THROUGH = frozenset({"vars", "collections.ChainMap", "weakref.proxy"})
"""What to change changes the object itself."""
QUERIES = frozenset({"sql", "query", "execute", "executemany", "executescript"})


class Results(OwnCode):
    """What a call gives."""

    def partial(self, given: Given) -> Value:
        """A function of the notebook that is given something already."""
        rest, named = tuple(given.arguments[1:]), tuple(given.keywords.items())
        codes = [replace(code, before=(*code.before, *rest), named=(*code.named, *named)) for code in given.first.code]
        return replace(given.first, held=given.all, code=tuple(codes))

    def function_from(self, dotted: str, given: Given) -> Value | None:
        """A function or module that is made of another or of a name; None for what makes none."""
        if dotted == "importlib.import_module" and given.first.text:
            return Value(kinds.MODULE, text=given.first.text)
        if dotted == "getattr" and given.first.kind == kinds.MODULE:
            return Value(kinds.MODULE, text=f"{given.first.text}.{''.join(given.texts[1:2]) or '*'}")
        if dotted in ("functools.partial", "functools.partialmethod"):
            if given.first.code:
                return self.partial(given)
            if given.first.kind == kinds.MODULE:
                return self._synthetic("lambda *rest, **named: it(*rest, **named)", given.node.args[0], given)
        if dotted == "operator.methodcaller" and given.first.text:
            places = "".join(f"_{place}, " for place in range(1, len(given.arguments)))
            return self._synthetic(f"lambda {places}it, **named: it.method({places}**named)", given.first.text, given)
        return self.cached(given.first) if kinds.keeps_results(dotted) and given.first.code else None

    def _synthetic(self, text: str, called: ast.expr | str, given: Given) -> Value:
        """A lambda of this text that is given already what stands behind the first; it calls `called`, or the method of that name."""
        node: Any = ast.parse(text, mode="eval").body
        if isinstance(called, str):
            node.body.func.attr = called
        else:
            node.body.func = called
        rest, named = tuple(given.arguments[1:]), tuple(given.keywords.items())
        value = self.function(node)
        codes = tuple(replace(code, before=rest, named=named) for code in value.code)
        return replace(value, held=given.all, code=codes)

    def result_of_imported(self, dotted: str, kind: str, given: Given) -> Value:
        """What an imported or built-in function gives, where `kind` is known by its name."""
        if dotted in _GIVES_ELEMENT:
            whole = given.first if dotted in _PICKS else given.first.mixed
            return replace(element(whole), origins=given.first.all, code=given.first.code)
        if (found := self._itself(dotted, given)) is not None:
            return found
        how = kinds.shares_arguments(dotted)
        if how == "view":
            return Value(kinds.ARRAY, given.first.all)
        if how == "parts" and kind == kinds.FRAME:
            return self._frame_of(given)
        reach = given.exposed | self._learns_with(dotted, given)
        reach = learning.without_learnt(reach) if learning.clones(dotted, given.node) else reach
        held = reach if how == "parts" else NONE
        if kind != kinds.UNKNOWN:
            is_named = dotted.startswith("pathlib.") and len(given.values) == 1
            names = given.first.names if is_named else ()
            return Value(kind, NONE, held, text="" if names else _text_of(dotted, kind, given), names=names)
        is_open = "." in dotted and not kinds.leaves_arguments_alone(dotted)
        runs_others = any(value.kind == kinds.MODULE for value in given.values) or bool(given.code and self.out.touches)
        text = kinds.CAREFUL if kinds.leaves_its_data_alone(dotted) and not runs_others else ""
        return Value(kind, reach if is_open else NONE, held, text, given.code)

    def _itself(self, dotted: str, given: Given) -> Value | None:
        """What is the first argument itself, or stands for it, or for what lies outside of the notebook's objects."""
        is_module = given.first.kind == kinds.MODULE
        if dotted == "type" and given.first.is_instance:
            return self.class_of(given.first)
        if dotted == "type" and given.first.classes:
            return self.class_of_class(given.first)
        if dotted in _SEEN_THROUGH and given.arguments:
            origins = module_of(given.first.text) if is_module else given.first.origins
            return Value(kinds.CONTAINER, origins, given.all)
        if dotted.startswith("unittest.mock.patch"):  # started, it changes what it is given
            patched = given.first.text if given.first.kind in (kinds.PLAIN, kinds.MODULE) else ""
            return Value(kinds.UNKNOWN, given.first.origins | (module_of(patched) if patched else NONE))
        if dotted == "contextlib.chdir":
            return Value(kinds.UNKNOWN, text=kinds.GOES)
        if dotted in ("vars", "locals"):
            return Value(kinds.CONTAINER if self.around else kinds.GLOBALS)
        return DUCKDB if kinds.made_by(dotted) == kinds.RELATION else None

    def _frame_of(self, given: Given) -> Value:
        """A frame, which copies lists of plain data; of what is not its data it only has labels."""
        found = (value for value in (given.first, given.keywords.get("data")) if value is not None)
        data = next((value for value in found if value is not NOBODY_KNOWS), PLAIN)
        is_copied = data.kind == kinds.CONTAINER and "copy" not in given.keywords
        is_copied = is_copied and all(self.kind_of(each) in kinds.VALUES for each in data.held)
        held = NONE if is_copied else data.all
        return Value(kinds.FRAME, NONE, held, labels=given.exposed - held)

    def _learns_with(self, dotted: str, given: Given) -> frozenset[Origin]:
        """What an estimator holds besides what it is given: leave to overwrite its data, the stream it draws from."""
        found = NONE
        if kinds.overwrites(dotted, given.denied):
            found |= {kinds.OVERWRITES}
            self.touch("may change", given.first.all, given.node)
        if streams.trains_by_chance(dotted, set(given.keywords)):
            found |= {streams.GLOBAL_STREAM}
        return found


def _text_of(dotted: str, kind: str, given: Given) -> str:
    """The text of a path that is put together, or of the file that a database lies in; of an estimator that it learns anew."""
    if kind in kinds.TRAINED:
        return learning.ANEW if learning.learns_anew(dotted) else ""
    if kind == kinds.CONNECTION:
        return given.first.text or given.named_texts.get("database", "")
    if dotted == "dict":
        return "inplace" if given.is_in_place else ""
    is_path = kind == kinds.PLAIN and dotted.startswith(("pathlib.", "os.path.", "os.fspath", "str"))
    is_path = is_path and (any(given.texts) or dotted in ("pathlib.Path", "os.path.join"))
    return "/".join(text or "*" for text in given.texts) if is_path else ""


def may_change_arguments(dotted: str) -> bool:
    """Whether nobody knows that it leaves them alone: a function of another package, which makes no object of a class."""
    makes_object = dotted.rpartition(".")[2][:1].isupper()
    return "." in dotted and not makes_object and not kinds.leaves_arguments_alone(dotted)


def result_of_method(base: Value, name: str, given: Given) -> Value:
    """What a method gives."""
    if base.kind in (kinds.CONTAINER, kinds.DEFAULTS) and name in _GIVE_ELEMENT:
        return join([base.entry, *given.arguments[1:]])
    if base.kind == kinds.STREAM and name in ("sample", "choice", "choices"):
        return Value(kinds.UNKNOWN, NONE, given.all)
    if base.kind == kinds.CONNECTION and name in ("cursor", "connect", "begin", "raw_connection"):
        return base
    if base.kind == kinds.CONNECTION and name in QUERIES and effects.looks(given.first.text):
        return Value(kinds.RELATION)
    kind, shares = kinds.result_of(base.kind, name)
    if not (shares or (name == "astype" and "copy" in given.keywords)):
        return Value(kind, text=_renamed(base.text, name, given.first.text) if kind == kinds.PLAIN else "")
    if base.kind == kinds.PLOT and kind == kinds.DATA:
        return Value(kind, base.all)
    if kind in _KEEPS_PARTS:
        return _same_parts(kind, base, name)
    if kind == base.kind == kinds.CONTAINER:
        return _parted(Value(kind, NONE, base.all | given.all, code=base.code), base, name)
    nobody_knows = kind == base.kind == kinds.UNKNOWN and name != "copy"
    return Value(kind, base.all if nobody_knows else NONE, base.all | given.all, _careful(base))


def _parted(value: Value, base: Value, method: str) -> Value:
    """What `items()` and its like give, with what its elements may be."""
    if method == "copy" or len(base.places) != 2:
        return value
    pair = Value(kinds.CONTAINER, NONE, base.all, kinds.FIXED, places=(base.places[0], base.entry))
    return replace(value, part={"keys": base.places[0], "values": base.entry}.get(method, pair))


def _same_parts(kind: str, base: Value, method: str) -> Value:
    """What is or shares the object; a model's results are an object of their own."""
    if kind == kinds.MODEL and learning.fits(method) and base.text != learning.RESULTS:
        if base.text == learning.ANEW:
            return Value(kind, NONE, learning.without_learnt(base.all), learning.RESULTS)
        return Value(kind, learning.without_learnt(base.origins), base.held)
    return Value(kind, base.origins, base.held, base.text if kind in kinds.TRAINED else "")


def _careful(base: Value) -> str:
    """The text of what leaves its data alone, if the object does."""
    return base.text if base.text == kinds.CAREFUL else ""


def _renamed(path: str, method: str, part: str) -> str:
    """The text of a path that a method makes of another."""
    if method in _NEW_LAST_PART:
        return f"{path or '*'}/{part or '*'}"
    return f"{path.rpartition('.')[0] or path or '*'}{part}" if method == "with_suffix" else path
