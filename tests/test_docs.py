"""The documentation does not lie: its commands are run and its output is compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory with the example images."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def shell(command: str, place: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-ec", command], cwd=place, env={**os.environ, "PATH": path, "COLUMNS": "100"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def block(marker: str) -> str:
    found = re.search(re.escape(marker) + r"\n```\w*\n(.*?)```", README, re.DOTALL)
    assert found, marker
    return found.group(1)


def test_the_readmes_output_is_what_is_printed(place: Path) -> None:
    done = shell("mien predict examples", place)
    assert done.returncode == 0, done.stderr
    shown = block("<!-- output: mien predict examples -->").strip().splitlines()
    printed = done.stdout.strip().splitlines()
    assert [line.split() for line in printed] == [line.split() for line in shown]


def test_the_readmes_first_training_runs(place: Path) -> None:
    done = shell(block("<!-- run -->"), place)
    assert done.returncode == 0, done.stderr
    assert (place / "first.onnx").exists()


def test_the_readmes_python_runs(place: Path) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    done = subprocess.run(
        [sys.executable, "-c", code.group(1)], cwd=place, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("examples/astronaut.jpg happy")


def test_every_command_and_option_is_documented() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for command in ("predict", "video", "live", "data import", "data show", "data draw",
                    "data audit", "train", "doctor", "study", "evaluate", "explain", "export",
                    "networks", "serve", "models", "quantize", "calibrate", "push"):  # fmt: skip
        done = subprocess.run(
            [str(Path(sys.executable).with_name("mien")), *command.split(), "--help"],
            capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "120"},
        )  # fmt: skip
        assert f"mien {command}" in text
        for option in set(re.findall(r"--[a-z][a-z-]+", done.stdout)) - {"--help"}:
            assert option in text, f"mien {command} {option} stands in no page"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_recipe_is_documented() -> None:
    text = (ROOT / "docs" / "train.md").read_text(encoding="utf-8")
    for recipe in (ROOT / "recipes").glob("*.toml"):
        assert f"`{recipe.stem}`" in text


def test_the_version_stands_in_the_changelog() -> None:
    from mien import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
