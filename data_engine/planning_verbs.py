"""What a workspace tells before something changes: the plan of a deploy, and whether the goldens hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from data_engine.errors import FlowValidationError
from data_engine.workspace_base import WorkspaceBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from data_engine.model import Event
    from data_engine.planning.plan import Plan
    from data_engine.planning.results import GoldenResult


class PlanningVerbs(WorkspaceBase):
    """The verbs of a workspace at `root` that compare what is with what would be; they change nothing."""

    def plan(
        self,
        name: str,
        sources: int = 3,
        use: str | None = None,
        key: str | Sequence[str] | None = None,
        params: Mapping[str, Any] | None = None,
        yes: bool = False,
        fresh: bool = False,
        sink: Callable[[Event], None] = lambda event: None,
    ) -> Plan:
        """What deploying the flow `name` as it is now would change: in its code, and in the data production really saw.

        The deployed version and the current one run over the last `sources` that production has read (or the batch), the
        newest first, each into one scratch folder of its own that begins as production is. The saved objects are compared (of
        `use` only that one) and the files both write; rows by the columns `key`, else whole rows. A version that fails is part
        of the plan. Steps are reused where earlier previews and plans of this process allow it, unless `fresh`. `yes`: steps
        that write elsewhere than through their context may run, twice. `sink` gets what happens.

        Raises:
            FlowValidationError: no such flow, never deployed, no source, no such object, or a step cannot be held back.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> ws = Workspace.create(tempfile.mkdtemp())
            >>> _ = ws.deploy("example")
            >>> ws.plan("example").equal
            True
        """
        from data_engine.compare.comparing import keys
        from data_engine.daemon.deploying import changed_config
        from data_engine.engine.params import check_params
        from data_engine.ledger import deployments as ledger_rows
        from data_engine.notebook import history
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.notebook.module_sets import read_contents
        from data_engine.planning.making import Wish, make_plan
        from data_engine.status.deployed_before import find_flow

        if not isinstance(sources, int) or isinstance(sources, bool) or sources < 1:
            raise FlowValidationError(
                f"sources={sources!r} must be a whole number, at least 1", where="plan(sources=...)", fix="sources=3"
            )
        home, modules = self.home, self.home.modules()
        path = find_flow(home, check_flow_name(name))
        wish = Wish(sources, use, keys(key), check_params(params), is_confirmed=yes, fresh=fresh)
        plan = make_plan(home, name, wish, current=lambda: modules.load(path).flow, sink=sink)
        live = history.live(ledger_rows.published(home.ledger()))[name]
        edit, _ = read_contents(home.layout.flow_modules_dir)
        return replace(plan, config=tuple(changed_config(home, live, edit)))

    def test(self, name: str | None = None, update: bool = False) -> list[GoldenResult]:
        """How the goldens of the flow `name`, or of all, compare with the code as it is now: one result each.

        With `update` those that differ are kept as they are now: look at what differs first.

        Raises:
            FlowValidationError: no such flow, or it has no goldens.

        Example:
            >>> import tempfile
            >>> from data_engine import Workspace
            >>> Workspace.create(tempfile.mkdtemp()).test()
            []
        """
        from data_engine.notebook.catalog import check_flow_name
        from data_engine.planning.golden import goldens_folder, require_goldens
        from data_engine.planning.testing import check_goldens
        from data_engine.shown import Listing
        from data_engine.status.deployed_before import find_flow
        from data_engine.workspace.machine import person

        home, modules = self.home, self.home.modules()
        if name is not None:
            find_flow(home, check_flow_name(name))
            require_goldens(goldens_folder(home), name)
        by = "@".join(person()) if update else None
        return Listing(check_goldens(home, modules, None if name is None else [name], update_by=by))
