"""A hook of the build: a wheel also holds the texts beside the packages that the documentation shows; an editable install reads them where they are."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHOWN = ("notebooks", "README.md", "GLOSSARY.md", "CHANGELOG.md", "SECURITY.md")


class WithDocumentation(BuildHookInterface[Any]):
    """What hatchling calls before it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the texts to what is packed."""
        if version != "editable":
            build_data["force_include"].update({name: f"data_engine/docs/beside/{name}" for name in SHOWN})
