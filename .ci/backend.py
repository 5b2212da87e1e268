"""The build: Hatchling's, and for a wheel the documentation as a site. An editable install needs nothing of what builds that."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling import build as hatchling
from hatchling.build import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
)
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]
ROOT = Path(__file__).parent.parent


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What Hatchling needs, and the extra `docs`. https://peps.python.org/pep-0517/#get-requires-for-build-wheel"""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*hatchling.get_requires_for_build_wheel(config_settings), *project["optional-dependencies"]["docs"]]


def importing(root: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that imports from the checkout too. What it imports from already stays: by PYTHONPATH an isolated
    build of pip has what it installed."""
    folders = (root, environment.get("PYTHONPATH"))
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


class WithDocumentation(BuildHookInterface[Any]):
    """What Hatchling calls before and after it builds a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the site and add it to what is packed."""
        if version != "editable":
            self.made = tempfile.TemporaryDirectory(prefix="data-engine-docs-")
            command = [sys.executable, "-m", "data_engine.docs", self.made.name]
            subprocess.run(command, env=importing(self.root, os.environ), stdout=subprocess.DEVNULL, check=True)
            build_data["force_include"][self.made.name] = "data_engine/docs/built"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was built beside the wheel."""
        if version != "editable":
            self.made.cleanup()
