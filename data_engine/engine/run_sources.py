"""Which sources a run settles that nobody has looked for yet, and which files a run or a preview must not write."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from data_engine.engine.candidates import Source, candidates, seen_now
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.memo.own_sources import IN_PREVIEWS, IN_RUNS, TOLD, OwnSources, Rule
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Manual, Poll
from data_engine.ledger.former_places import own_outputs
from data_engine.model import SeenSource, SourceKey


def seen_by_hand(flow: Flow, source: Source, home: LocalWorkspace | None) -> tuple[SeenSource, ...]:
    """The sources of a poll flow as they are now, for a run that no scan has found due; its known outputs are none."""
    if not isinstance(flow.trigger, Poll):
        return ()
    if home is None:
        return seen_now(flow, source)
    states = home.ledger().source_states(flow.name or "") if home.settings().freshness == "content" else None
    return seen_now(flow, source, states=states, is_output=_outputs_of(flow, source, home))


def own_sources_of_run(
    flow: Flow, source: Source, seen: tuple[SeenSource, ...], *, may_refuse: bool
) -> OwnSources | None:
    """The sources of a run that has `seen` them; None where a flow may write what it reads: it runs by hand only.

    Of a poll flow they must not be written. A scheduled one is only told of it, and a batch where `seen` may hold outputs
    (`may_refuse` is False).
    """
    if isinstance(flow.trigger, Poll):
        is_refused = may_refuse or source.path is not None
        return _own(flow, source, lambda: [one.key.path for one in seen], IN_RUNS if is_refused else TOLD)
    if isinstance(flow.trigger, Manual):
        return None
    return _own(flow, source, lambda: [name for name, _ in candidates(flow)], TOLD)


def own_sources_of_preview(
    flow: Flow, source: Source, home: LocalWorkspace | None, *, is_in_place: bool
) -> OwnSources | None:
    """The sources of a preview: as in a run where it `is_in_place`, else none of them may be written, removed or moved, whatever the
    trigger."""

    def names() -> list[str]:
        is_output = _outputs_of(flow, source, home)
        root = "" if source.key is None else source.key.root
        return [name for name, entry in candidates(flow) if not is_output(SourceKey(root, name), entry.path)]

    if isinstance(flow.trigger, Poll):
        return _own(flow, source, names, IN_RUNS, keeps=not is_in_place)
    return None if is_in_place else _own(flow, source, names, IN_PREVIEWS, keeps=True)


def _own(
    flow: Flow, source: Source, names: Callable[[], Iterable[str]], rule: Rule, *, keeps: bool = False
) -> OwnSources | None:
    trigger, path = flow.trigger, source.path
    if trigger is None or source.root is None:
        return None
    mirror = None if flow.mirror_spec is None else flow.mirror_spec.root
    only = None if path is None else str(path.relative_to(source.root) if path.is_relative_to(source.root) else path)
    is_folder = path is None or bool(source.key and source.key.path)
    return OwnSources(
        source.root,
        names if only is None else lambda: [only],
        rule=rule,
        extensions=trigger.extensions if is_folder and isinstance(trigger, Poll) else (),
        skip=mirror,
        keeps=keeps,
    )


def _outputs_of(flow: Flow, source: Source, home: LocalWorkspace | None) -> Callable[[SourceKey, str], bool]:
    """Whether a file in the folder of a batch is what the flow wrote itself, as planning judges it."""
    if home is None or source.path is not None:
        return lambda key, path: False
    ledger, name = home.ledger(), flow.name or ""
    outputs = own_outputs(ledger, home.layout, name)
    states = ledger.source_states(name) if outputs else {}
    return lambda key, path: path in outputs and key not in states
