"""The Files tab: every file of a flow's source is counted and found, and says what it is."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace
from data_engine.status.offline import OfflineFacts
from data_engine.status.source_files import FileLists
from jupyter_extension.actions import answer
from jupyter_extension.files import files_view, reader
from tests.panel import flows
from tests.panel.lab import Lab, Page
from tests.support import WorkspaceFiles, until


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    flows.fill(ws.root, polled=flows.POLLED, nightly=flows.NIGHTLY)
    flows.sources(ws.root, good=3)
    found = Workspace(ws.root)
    yield found
    found.kill()
    reader.close()  # it has the environment of this test


def files(workspace: Workspace, flow: str = "polled", **asked: Any) -> dict[str, Any]:
    found = answer(str(workspace.root), "files", {"flow": flow, **asked})
    assert "error" not in found, found
    result: dict[str, Any] = found["result"]
    return result


def groups(listed: dict[str, Any]) -> dict[str, int]:
    return {group: count for group, _, count in listed["groups"]}


def test_files_are_listed_before_the_engine_ever_ran(workspace: Workspace) -> None:
    """By a look at the folder, with why none of them runs."""
    listed = files(workspace)

    assert (listed["total"], groups(listed)) == (4, {"waiting": 4})
    assert (listed["notes"], listed["noted"]) == (["not deployed: data-engine deploy polled"], "not_deployed")
    assert [file["name"] for file in listed["files"]] == ["00.csv", "01.csv", "02.csv", "bad-0.csv"]
    nightly = files(workspace, "nightly")
    assert (nightly["notes"], nightly["noted"]) == (["this flow has no source files"], None)


def test_each_file_says_what_it_is_with_a_daemon_and_without(workspace: Workspace) -> None:
    """Done, held, or gone: one that is gone can be neither run nor previewed."""
    workspace.deploy()
    workspace.start_engine()
    until(lambda: groups(files(workspace)) == {"held": 1, "done": 3})
    (workspace.root / "in" / "01.csv").unlink()
    until(lambda: groups(files(workspace)) == {"held": 1, "gone": 1, "done": 2})
    live = files(workspace)
    workspace.kill()
    lying = files(workspace)

    for listed in (live, lying):
        held, gone, *done = listed["files"]
        assert groups(listed) == {"held": 1, "gone": 1, "done": 2}
        assert (held["name"], held["retry"], held["read"]) == ("bad-0.csv", None, None)
        assert held["reason"].endswith(f", failed: {held['error']}")
        assert (gone["name"], gone["read"]) == ("01.csv", "the file is not there any more")
        assert gone["reason"].startswith("not there any more; its last run: success")
        assert [(one["name"], one["why"]["kind"], one["last"]["word"]) for one in done] == [
            ("00.csv", "done", "success"),
            ("02.csv", "done", "success"),
        ]
    assert lying["notes"] == ["the engine is off"]


def test_a_folder_that_is_away_is_no_file(workspace: Workspace) -> None:
    """It is said once, and what is known of its files stays to be seen."""
    workspace.deploy()
    workspace.run("polled")
    workspace.kill()
    shutil.rmtree(workspace.root / "in")
    listed = files(workspace)

    assert groups(listed) == {"away": 4}
    assert any("unreachable since" in note for note in listed["notes"])
    assert {file["read"] for file in listed["files"]} == {"its folder cannot be read now"}


def test_a_search_and_a_kind_look_at_all_files(workspace: Workspace) -> None:
    """Not at those that are shown alone; each word counts, in names as in reasons."""
    for number in range(3000):
        (workspace.root / "in" / f"claims-{number:04}.csv").touch()

    listed = files(workspace, limit=10)
    assert (listed["total"], listed["found"]) == (3004, 0)
    assert [(one["count"], one["reason"]) for one in listed["alike"]] == [(3004, "waits until its flow is deployed")]
    assert len(files(workspace, group="waiting", limit=10)["files"]) == 10
    assert [one["name"] for one in files(workspace, search="CLAIMS 2999")["files"]] == ["claims-2999.csv"]
    assert files(workspace, search="not deployed")["found"] == 3004
    assert files(workspace, search="claims", group="held")["found"] == 0
    assert files(workspace, search="claims", group="waiting")["found"] == 3000


def test_a_list_that_took_long_is_kept_and_made_anew_beside_the_questions(workspace: Workspace) -> None:
    """Who asks is not held up, and is told when to ask again."""
    clock = [0.0]

    def slow_clock() -> float:
        clock[0] += 0.2
        return clock[0]

    facts = OfflineFacts(workspace.home)
    lists = FileLists(facts, clock=slow_clock)
    before = lists.page(facts.facts(), "polled")
    (workspace.root / "in" / "new.csv").touch()
    kept = lists.page(facts.facts(), "polled")
    clock[0] += 10
    old = lists.page(facts.facts(), "polled")

    assert before.again_s > 2.0
    assert (kept.found, old.found) == (4, 4)
    until(lambda: lists.page(facts.facts(), "polled").found == 5)


def test_a_pass_says_how_far_it_is(workspace: Workspace) -> None:
    """Of the files that could run."""
    facts = OfflineFacts(workspace.home)
    listed = FileLists(facts).page(facts.facts(), "polled").as_dict()
    from data_engine.status.source_files import SourceFiles

    under_way = SourceFiles.read(
        listed | {"counts": {**listed["counts"], "done": 5, "running": 1, "waiting": 4, "gone": 2}}
    )
    view = files_view(under_way)

    assert (view.progress, view.share) == ("5 of 10 files done, 1 running, 4 to come.", 0.5)


WHOLE_LINES = """
(panel) => {
    const body = panel.querySelector('.de-body').getBoundingClientRect();
    const places = [...panel.querySelectorAll('.de-file')].map((file) => file.getBoundingClientRect());
    return places.filter((place) => place.top >= body.top && place.bottom <= body.bottom).length;
}
"""


def test_the_files_tab_at_any_size(lab: Lab, page: Page, pictures: Path) -> None:
    """The badge counts all files, the search finds the last of them, and a file that goes is told as gone; 15 are seen at once
    in a side bar of 900 px."""
    workspace = lab.workspace("many_files")
    flows.fill(workspace, polled=flows.POLLED)
    flows.sources(workspace, good=1500, bad=0)
    for number in range(20, 1499):
        os.utime(workspace / "in" / f"{number:02}.csv", (time.time() - 99, time.time() - 99))
    page.open()
    panel = page.side(workspace)
    detail = panel.select("polled")
    files_tab = detail.get_by_role("tab", name="Files")
    files_tab.locator(".de-count", has_text="1,500").wait_for()
    files_tab.click()
    detail.locator(".de-alike", has_text="1,500 files").wait_for()
    detail.get_by_label("Search files").fill("1498")
    page.page.wait_for_function("() => document.querySelectorAll('#data-engine-panel .de-file').length === 1")
    name = detail.locator(".de-file").get_attribute("data-file")
    page.page.screenshot(path=pictures / "side-files-search.png")
    detail.get_by_label("Search files").fill("")
    panel.button("start engine").click()
    detail.locator(".de-bar").first.wait_for()
    page.page.screenshot(path=pictures / "side-files-pass.png")
    (workspace / "in" / "00.csv").unlink()
    detail.locator("[data-group=gone]").wait_for(timeout=60000)
    detail.locator("[data-group=gone]").click()
    detail.locator(".de-file[data-file='00.csv']", has_text="not there any more").wait_for()
    page.page.wait_for_timeout(300)
    page.page.screenshot(path=pictures / "side-files-gone.png")

    assert name == "1498.csv"
    assert panel.open_file("00.csv").get_by_role("button", name="Run", exact=True).get_attribute("aria-disabled")
    lab.do(workspace, "stop_engine")
    detail.locator(".de-file.de-open .de-file-main").click()
    detail.locator("[data-group='']").click()
    detail.locator(".de-bar").first.wait_for(state="detached")
    page.page.wait_for_function("() => document.querySelectorAll('#data-engine-panel .de-file').length > 30")
    page.page.screenshot(path=pictures / "side-files-done.png")
    assert panel.element.evaluate(WHOLE_LINES) >= 15
    lab.do(workspace, "kill")
