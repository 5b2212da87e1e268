"""The context of a previewed step, which notices what the step takes from it by other ways than its code tells."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from data_engine.engine.access.access_log import active_logs, not_logged
from data_engine.engine.memo.fingerprint import value_digest
from data_engine.engine.params import values_of
from data_engine.flow.context import FlowContext
from data_engine.flow.spec import StepSpec
from data_engine.secret import Secret

_TABLES = ("objects", "metadata")


class WatchedContext(FlowContext):
    """A context that notices which of its tables are looked at, by whatever way: `looked_at` holds their names."""

    __slots__ = ("looked_at",)

    looked_at: set[str]

    def __new__(cls, *_: object, **__: object) -> WatchedContext:
        context = super().__new__(cls)
        context.looked_at = set()
        return context

    def __repr__(self) -> str:
        return super().__repr__().replace("WatchedContext(", "FlowContext(", 1)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        self.looked_at.update(_TABLES)
        return attributes_of(self)

    @property
    def objects(self) -> dict[str, Any]:
        """As `FlowContext.objects`."""
        return self._noticed("objects")

    @objects.setter
    def objects(self, value: dict[str, Any]) -> None:
        attributes_of(self)["objects"] = value

    @property
    def metadata(self) -> dict[str, Any]:
        """As `FlowContext.metadata`."""
        return self._noticed("metadata")

    @metadata.setter
    def metadata(self, value: dict[str, Any]) -> None:
        attributes_of(self)["metadata"] = value

    def secret(self, name: str) -> Secret:
        """As `FlowContext.secret`; it may be another one by the next preview. What a keyring reads and writes is not the step's."""
        for log in active_logs():
            log.mark_unseen(f"the secret {name}")
        with not_logged():
            return super().secret(name)

    def _noticed(self, name: str) -> dict[str, Any]:
        self.looked_at.add(name)
        found: dict[str, Any] = attributes_of(self)[name]
        return found


WatchedContext.__name__ = "FlowContext"  # what Python calls it in the text of an error, as in production


def attributes_of(context: FlowContext) -> dict[str, Any]:
    """The context's own attributes, to read and to set, without being noticed."""
    found: dict[str, Any] = vars(FlowContext)["__dict__"].__get__(context)
    return found


def watched(given: FlowContext) -> WatchedContext:
    """A watched context with the attributes of `given`, in which no step has run."""
    attributes = dict(attributes_of(given))
    attributes |= {"metadata": {**attributes["metadata"], "step_outputs": {}}, "objects": {}}
    return WatchedContext(**attributes)


def changeable_state(attributes: Mapping[str, Any], step: StepSpec) -> object:
    """What `step` could change about the context itself: its attributes, its saved objects, its metadata."""
    own = {name: id(value) for name, value in attributes.items() if name not in ("current", "control", *_TABLES)}
    objects = {name: id(value) for name, value in attributes["objects"].items() if name != step.save_as}
    metadata = {name: id(value) for name, value in attributes["metadata"].items() if name != "step_outputs"}
    outputs = attributes["metadata"].get("step_outputs")
    if isinstance(outputs, dict):  # the step's own may be numbered
        outputs = {name: id(value) for name, value in outputs.items() if not str(name).startswith(step.label)}
    return own, objects, params_digest(attributes["params"]), metadata, outputs


def params_digest(params: Any) -> bytes | None:
    """The content of `context.params`, in which a secret counts by its value; None where nobody can tell."""
    values = {
        name: sha256(value.reveal().encode()).digest() if isinstance(value, Secret) else value
        for name, value in values_of(params).items()
    }
    return value_digest(values) if values else b"none"
