"""The tutorials' notebooks run from start to end, and are stored without outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.docs.blocks import DOCS

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
DISPLAYED = {"developer": ("Reader, mien-small", "examples/astronaut.jpg"),
             "researcher": ("Reader, mien-small", "valence"),
             "student": ("Dataset drawn", "learning-rate-too-high", "balanced accuracy",
                         "Reader, mien-poster", "examples/astronaut.jpg")}  # fmt: skip
"""What a reader of each notebook must see."""


def name(path: Path) -> str:
    return path.stem


def test_each_tutorial_has_a_notebook() -> None:
    tutorials = {page.stem for page in (DOCS / "tutorials").glob("*.md")} - {"index"}
    assert tutorials == {path.stem for path in NOTEBOOKS} == set(DISPLAYED)
    for tutorial in tutorials:
        text = (DOCS / "tutorials" / f"{tutorial}.md").read_text("utf-8")
        assert f"docs/notebooks/{tutorial}.ipynb" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebooks_have_no_outputs(path: Path) -> None:
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        assert cell["cell_type"] == "markdown" or (
            cell["outputs"] == [] and cell["execution_count"] is None
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebooks_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # The tests' own mien, whatever is installed.
    path_ = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path_)
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    client.execute()
    shown = "\n".join(_displays(notebook))
    assert [text for text in DISPLAYED[path.stem] if text not in shown] == []


def _displays(notebook: Any) -> list[str]:
    """Return the HTML of every cell that displays some."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return ["".join(o["data"]["text/html"]) for o in outputs if "text/html" in o.get("data", {})]
