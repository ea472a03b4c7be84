"""ARCHITECTURE.md names files that exist."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PLACES = ("src/mien", "src/mien/serve", "src/mien/predict", "")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.(?:py|js|md))`", TEXT))))
def test_files_that_are_named_exist(name: str) -> None:
    assert any((ROOT / place / name).is_file() for place in PLACES)


def test_the_list_of_folders_names_what_is_there() -> None:
    block = TEXT.split("src/mien/\n", 1)[1].split("```", 1)[0]
    folder, missing = "", []
    for line in block.splitlines():
        if line.startswith("  ") and not line.startswith("   "):
            folder = line.split()[0]
        if folder.endswith("/") and folder not in ("model/shipped/", "cli/"):
            words = line.replace(folder, "", 1) if folder in line else line
            plain = re.sub(r"\([^)]*\)", "", words)
            for name in re.findall(r"\b[a-z]+_[a-z_]+\b", plain):
                if not list((ROOT / "src/mien" / folder).rglob(f"{name}.py")):
                    missing.append(f"{folder}{name}")
    assert not missing
