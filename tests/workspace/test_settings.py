from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.errors import SettingsError
from data_engine.workspace.layout import WorkspaceLayout
from data_engine.workspace.settings import (
    DEFAULT_SETTINGS_TEXT,
    AlertSettings,
    DeploySettings,
    ExecutorSettings,
    LeaseSettings,
    LimitSettings,
    RetrySettings,
    WorkspaceSettings,
    load_settings,
    usable_settings,
)


def parse_settings(text: str, *, where: str) -> WorkspaceSettings:
    """The settings in `text`, as a file with it gives them."""
    settings, error = usable_settings(text, where=where)
    if error is not None:
        raise error
    return settings


WHOLE = """\
timezone = "Europe/Berlin"
freshness = "content"
[deploy]
mode = "ask"
quiet = "0s"
[executor]
kind = "dask"
scheduler = "tcp://host:8786"
workers = 2
[retry]
retries = 3
delay = "1m"
[limits]
run_timeout = "2h"
[history]
retention_days = 7
[lease]
heartbeat = "10s"
stale_after = "30s"
takeover = "auto"
[daemon]
idle_exit = "1.5h"
[preview]
cache = "512MiB"
[alerts]
to = ["ops", "anna"]
on = ["held", "failed"]
digest = "15m"
"""
KEYS = [
    (name, *inner)
    for name, value in tomllib.loads(WHOLE).items()
    for inner in ([(key,) for key in value] + [()] if isinstance(value, dict) else [()])
]


@pytest.fixture
def layout(workspace_at: Callable[[str], WorkspaceLayout]) -> WorkspaceLayout:
    made = workspace_at("claims")
    made.config_dir.mkdir()
    return made


class TestReading:
    def test_without_a_file_every_setting_has_its_default(self, layout: WorkspaceLayout) -> None:
        """The defaults are the contract's."""
        assert load_settings(layout) == WorkspaceSettings()
        assert WorkspaceSettings().executor == ExecutorSettings("threads", "local", None, None, os.cpu_count() or 1)
        assert WorkspaceSettings().limits == LimitSettings(None)

    def test_every_setting_is_read(self, layout: WorkspaceLayout) -> None:
        """Durations become seconds and the size bytes."""
        layout.settings_path.write_text(WHOLE)

        read = load_settings(layout)
        assert (read.timezone, read.freshness, read.warnings) == ("Europe/Berlin", "content", ())
        assert read.deploy == DeploySettings("ask", 0.0)
        assert read.executor == ExecutorSettings("dask", "local", "tcp://host:8786", None, 2)
        assert read.retry == RetrySettings(3, 60.0)
        assert read.limits.run_timeout_s == 7200
        assert read.history.retention_days == 7
        assert read.lease == LeaseSettings(10.0, 30.0, "auto")
        assert read.daemon.idle_exit_s == 5400
        assert read.preview.cache_bytes == 512 * 1024**2
        assert read.alerts == AlertSettings(("ops", "anna"), ("failed", "held"), 900.0)

    def test_the_provisioned_file_sets_nothing_and_its_lines_are_good_once_uncommented(self) -> None:
        """Every line is commented out; taking the comment sign away gives the defaults or valid examples."""
        assert tomllib.loads(DEFAULT_SETTINGS_TEXT) == {}
        uncommented = re.sub(r"^# (?=\[|\w+ = )", "", DEFAULT_SETTINGS_TEXT, flags=re.MULTILINE)
        read = parse_settings(uncommented, where="x")

        assert read.warnings == ()
        assert sum(len(v) if isinstance(v, dict) else 1 for v in tomllib.loads(uncommented).values()) == 28
        examples: dict[str, Any] = {
            "timezone": None,
            "executor": ExecutorSettings(),
            "limits": LimitSettings(),
            "alerts": AlertSettings(),
        }
        assert read.alerts == AlertSettings(("ops",))
        assert replace(read, **examples) == WorkspaceSettings()

    def test_a_file_saved_by_a_windows_editor_is_read(self, layout: WorkspaceLayout) -> None:
        """Byte order mark and CRLF."""
        layout.settings_path.write_bytes(b'\xef\xbb\xbffreshness = "content"\r\n')

        assert load_settings(layout).freshness == "content"

    def test_an_unknown_key_is_a_warning_with_the_nearest_known_one(self, layout: WorkspaceLayout) -> None:
        """It may come from a newer version, so it is no error. Misplaced keys count too; the line and what there is are told."""
        layout.settings_path.write_text('heartbeat = "5s"\n[deploy]  # ours\n\n  quite = "1s"\n')

        assert [warning.removeprefix(str(layout.settings_path)) for warning in load_settings(layout).warnings] == [
            ', line 1: unknown setting "heartbeat", which is ignored: did you mean "lease.heartbeat"? '
            "Above the sections are timezone, freshness",
            ', line 4: unknown setting "deploy.quite", which is ignored: did you mean "deploy.quiet"? '
            "[deploy] takes mode, quiet, keep, gate",
        ]
        assert load_settings(layout) == WorkspaceSettings(warnings=load_settings(layout).warnings)

    @pytest.mark.parametrize(
        ("text", "line", "meant"),
        [
            ("[deploy]\n\n[retyr]\nretries = 2\n", ", line 3", "did you mean [retry]? "),
            ("# [retyr]\n[ limit ]\n", ", line 2", "did you mean [limits]? "),
            ("[zzz]\n", ", line 1", ""),
            ("[run]\nretries = 2\n", ", line 1", "did you mean [retry]? "),
            ("[cluster]\nscheduler = 'tcp://a:1'\n", ", line 1", "did you mean [executor]? "),
            ("retyr = {retries = 2}\n", ", line 1", "did you mean [retry]? "),
            ('["retyr"]\n', "", "did you mean [retry]? "),
        ],
    )
    def test_an_unknown_section_is_told_by_its_line_with_the_sections_there_are(
        self, text: str, line: str, meant: str, layout: WorkspaceLayout
    ) -> None:
        """Not by a setting of another section; where the line is not found, it is not guessed."""
        layout.settings_path.write_text(text)

        (warning,) = load_settings(layout).warnings
        assert warning.startswith(f"{layout.settings_path}{line}: unknown section [")
        assert f"], which is ignored: {meant}The sections are [deploy], [executor], [retry], [limits]" in warning


WRONG = [
    ("timezone", '"Europe/Berlim"', '"Europe/Berlin"'),
    ("timezone", '"Europe"', "time zone"),
    ("timezone", '""', "time zone"),
    ("timezone", '"../UTC"', "time zone"),
    ("timezone", "1", "time zone"),
    ("freshness", '"hash"', '"signature" or "content"'),
    ("freshness", "true", '"signature" or "content"'),
    ("deploy", '"auto"', "[deploy]"),
    ("deploy.mode", '"manual"', '"auto" or "ask"'),
    ("deploy.quiet", "30", '"30s"'),
    ("deploy.quiet", '"30 parsecs"', '"30s"'),
    ("deploy.quiet", '"-1s"', '"30s"'),
    ("deploy.quiet", '"infs"', '"30s"'),
    ("executor.kind", '"ray"', '"threads" or "processes" or "dask"'),
    ("executor.kind", '"dask"', "scheduler ="),
    ("executor.runs", '"cluster"', '"local" or "dask"'),
    ("executor.runs", '"dask"', "scheduler ="),
    ("executor.scheduler_file", '""', "a path"),
    ("executor.scheduler", '"host"', "tcp://host:8786"),
    ("executor.scheduler", "8786", "tcp://host:8786"),
    ("executor.workers", "0", "whole number from 1"),
    ("executor.workers", "true", "whole number"),
    ("executor.workers", "2.0", "whole number"),
    ("executor.workers", '"2"', "whole number"),
    ("retry.retries", "-1", "whole number from 0"),
    ("retry.delay", "[]", '"30s"'),
    ("limits.run_timeout", '"0s"', '"30s"'),
    ("limits.run_timeout", "2024-01-01", '"30s"'),
    ("history.retention_days", "0", "whole number from 1"),
    ("history.retention_days", '"30d"', "whole number"),
    ("lease.heartbeat", '"0s"', '"30s"'),
    ("lease.heartbeat", '"99ms"', 'heartbeat = "0.1s"'),
    ("lease.heartbeat", '"31s"', 'stale_after = "93s"'),
    ("lease.stale_after", '"89s"', 'stale_after = "90s"'),
    ("lease.stale_after", '"25h"', 'stale_after = "24h" or less'),
    ("lease.takeover", '"never"', '"ask" or "auto"'),
    ("daemon.idle_exit", '"0s"', '"30s"'),
    ("preview.cache", "1024", '"1GiB"'),
    ("preview.cache", '"1 gig"', '"1GiB"'),
    ("preview.cache", '"-1GiB"', '"1GiB"'),
    ("preview.cache", '"' + "9" * 400 + 'TB"', '"1GiB"'),
    ("alerts.to", '["mailto://ann:pw@example.org"]', "data-engine secret set ops"),
    ("alerts.to", "7", "names of secrets"),
    ("alerts.to", "[7]", "names of secrets"),
    ("alerts.on", '["odd"]', '"failed", "held"'),
    ("alerts.on", '"failed"', '"failed", "held"'),
    ("alerts.digest", "5", '"30s"'),
    ("databases.storage_version", '"v99.0.0"', "up to the one that is installed here"),
    ("databases.storage_version", '"1.5"', '"v1.5.0"'),
]


class TestWrongValues:
    @pytest.mark.parametrize(("key", "value", "fix"), WRONG, ids=[f"{key}={value[:12]}" for key, value, _ in WRONG])
    def test_each_names_file_key_and_fix(self, key: str, value: str, fix: str, layout: WorkspaceLayout) -> None:
        """A person reads the message and knows the line to write."""
        section, _, name = key.rpartition(".")
        layout.settings_path.write_text(f"[{section}]\n{name} = {value}\n" if section else f"{name} = {value}\n")

        with pytest.raises(SettingsError) as caught:
            load_settings(layout)
        where = str(caught.value.where)
        assert where.startswith(f"{layout.settings_path}: ")
        assert where.endswith(key) or key in (
            "executor.kind",
            "executor.runs",
            "lease.heartbeat",
        )  # those name the setting they miss
        assert fix in str(caught.value.fix)

    @pytest.mark.parametrize("heartbeat", ["0.1s", "110ms", "7s", "1.1h"])
    def test_exactly_three_heartbeats_are_enough(self, heartbeat: str) -> None:
        """The fix's own proposal must be accepted, whatever rounding does."""
        with pytest.raises(SettingsError) as caught:
            parse_settings(f'[lease]\nheartbeat = "{heartbeat}"\nstale_after = "1ms"', where="x")
        proposal = re.search(r'"(.*?)"', str(caught.value.fix))

        assert proposal is not None
        parse_settings(f'[lease]\nheartbeat = "{heartbeat}"\nstale_after = "{proposal[1]}"', where="x")

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"mode = ask", "not a TOML file.*line 1"),
            (b"[deploy]\n[deploy]\n", "not a TOML file"),
            (b"timezone = '\xff'", "not UTF-8"),
            (b"a = " + b"[" * 5000, "nested too deeply"),
        ],
    )
    def test_a_file_that_is_no_toml_is_named(self, content: bytes, said: str, layout: WorkspaceLayout) -> None:
        """No decoder's own exception reaches the caller."""
        layout.settings_path.write_bytes(content)

        with pytest.raises(SettingsError, match=said) as caught:
            load_settings(layout)
        assert caught.value.where == str(layout.settings_path)

    def test_a_folder_in_the_files_place_is_named(self, layout: WorkspaceLayout) -> None:
        """No raw IsADirectoryError."""
        layout.settings_path.mkdir()

        with pytest.raises(SettingsError, match="cannot be read"):
            load_settings(layout)

    @settings(deadline=None)
    @given(
        st.recursive(
            st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=20) | st.datetimes(),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
            max_leaves=4,
        ),
        st.sampled_from(KEYS),
    )
    def test_no_value_of_any_type_leaks_an_exception_of_another_kind(self, value: Any, key: tuple[str, ...]) -> None:
        """Whatever stands behind a key, the answer is settings or a SettingsError."""
        written = value
        for name in reversed(key):
            written = {name: written}
        with suppress(SettingsError):
            parse_settings(tomlkit.dumps(written), where="x.toml")
