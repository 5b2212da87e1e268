"""Uses of the public names that both type checkers must report: each line that says so, and no other. Checked, never run."""

from __future__ import annotations

from pathlib import Path

from data_engine import Flow, FlowContext, Workspace, clear_preview_cache, discover_flows, load_flow, panel


def no_context() -> int:
    return 1


def step(context: FlowContext) -> None:
    print(context.params["days"].sure)
    print(context.nothing)  # wrong


flow = Flow(group="Claims")
Flow()  # wrong
Flow(group=3)  # wrong
Flow(groop="Claims")  # wrong
flow.group = "Other"  # wrong
flow.wach(mode="manual")  # wrong
flow.watch(mode="hourly")  # wrong
flow.watch(source="/in")  # wrong
flow.watch(mode="poll", source=3, interval="5s")  # wrong
flow.watch(mode="schedule", time="08:00", catch_up="some")  # wrong
flow.mirror(root=None)  # wrong
flow.step(no_context)  # wrong
flow.step(step, "name")  # wrong
flow.step(step, save_as=3)  # wrong
flow.map(step, max_parallel="4")  # wrong
flow.map(step, on_error="ignore")  # wrong
flow.collect(3)  # wrong
flow.check("amount > 0")  # wrong
flow.check({"a": "a > 0"}, on_fail="drop")  # wrong
flow.check(schema="as_after")  # wrong
flow.preview(params=[1])  # wrong
flow.params({"month": 1})  # wrong
flow.preview(against="main")  # wrong
flow.golden(use=3)  # wrong
flow.profile(use=3)  # wrong
flow.expect(by=7)  # wrong
flow.alert(to=3)  # wrong
flow.run_once(True)  # wrong

workspace = Workspace(Path("/ws"))
Workspace(3)  # wrong
workspace.load_flow(Path("claims"))  # wrong
workspace.runs(limit="all")  # wrong
workspace.retry(source=3)  # wrong
workspace.release_control(now="yes")  # wrong
workspace.plan("claims", sources="3")  # wrong
workspace.test(3)  # wrong
workspace.nothing()  # wrong
load_flow()  # wrong
discover_flows("/ws")  # wrong
clear_preview_cache(3)  # wrong
panel(3)  # wrong
"".join(workspace.runs())  # wrong
