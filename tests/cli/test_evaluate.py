"""`mien evaluate`: its tables hold what its JSON holds, and its plots what was measured."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mien.data.dataset import Dataset, save_dataset
from mien.labels import FERPLUS_VOTES

from ..conftest import run_mien

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: run_mien(capsys, monkeypatch, "evaluate", *words)


@pytest.fixture(scope="session")
def voted_folder(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder: each drawn face has eight votes for its label and two for neutral."""
    votes = np.zeros((len(drawn), len(FERPLUS_VOTES)), np.float32)
    for row, label in enumerate(drawn.labels_n):
        votes[row, FERPLUS_VOTES.index(drawn.label_names[label])] += 8
        votes[row, FERPLUS_VOTES.index("neutral")] += 2
    folder = tmp_path_factory.mktemp("evaluate") / "voted"
    save_dataset(replace(drawn, votes_nk=votes, vote_names=FERPLUS_VOTES), folder)
    return folder


def test_the_tables_hold_what_the_json_holds(run: Run, voted_folder: Path) -> None:
    options = ("mien-tiny", "--data", voted_folder, "--by", "skin_tone", "--raters")
    code, text, note = run(*options)
    assert code == 0
    assert "no plots were written; --image FILE" in note
    code, answer, _ = run(*options, "--json")
    done: dict[str, Any] = json.loads(answer)
    assert code == 0
    truth = done["consensus"]
    n = truth["n"]
    assert f"n = {n}" in text
    first = next(line for line in text.splitlines() if line.startswith("accuracy"))
    accuracy = truth["accuracy"]
    assert f"{accuracy['value']:.4f} ({accuracy['low']:.4f} to {accuracy['high']:.4f})" in first
    # The first row of the raters' table is the model's, in percent.
    row = next(line for line in text.splitlines() if "all raters' majority" in line)
    assert f"{100 * accuracy['value']:.1f} ({100 * accuracy['low']:.1f} to" in row
    for one in done["groups"]["skin_tone"]["values"]:
        assert re.search(rf"^{one['value']} +{one['n']} ", text, re.MULTILINE), one["value"]


def test_every_corruption_has_its_row(run: Run, voted_folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "plots" / "tiny.png"
    image.parent.mkdir()
    options = ("mien-tiny", "--data", voted_folder, "--corruptions", "--by", "lighting")
    code, answer, note = run(*options, "--json", "--image", image)
    assert code == 0
    done = json.loads(answer)["corruptions"]
    names = ["tiny", "tiny-confidence", "tiny-corruptions", "tiny-groups"]
    assert sorted(p.stem for p in image.parent.iterdir()) == names
    assert note.startswith("images: ")
    for path in image.parent.iterdir():
        with Image.open(path) as plot:
            assert np.ptp(np.asarray(plot.convert("L"))) > 100, path
    code, text, note = run(*options, "--image", image)
    assert note.startswith("images, replacing earlier ones: ")
    rows = [line.split() for line in text.splitlines()]
    for loss in done["losses"]:
        accuracy = f"{loss['accuracy']:.4f}"
        assert any(row and row[0] == loss["corruption"] and accuracy in row for row in rows), loss


def test_the_test_split_comes_with_a_note(run: Run, drawn: Dataset, tmp_path: Path) -> None:
    splits = np.where(drawn.splits_n == "validation", "test", drawn.splits_n)
    save_dataset(replace(drawn, splits_n=splits), tmp_path / "held")
    code, _, note = run("mien-tiny", "--data", tmp_path / "held", "--split", "test")
    assert code == 0
    assert "do not choose a model by it" in note


def test_a_model_that_does_not_know_its_data_needs_a_folder(run: Run) -> None:
    code, _, error = run("mien-tiny")
    assert code == 2
    assert "does not record which data it was trained on" in error
    assert "--data DIR" in error


def test_the_plot_of_confidence_shows_the_measured_sets(
    run: Run, voted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_figures: list[Figure] = []

    def keep(figure: Figure) -> bytes:
        drawn_figures.append(figure)
        return b"png"

    monkeypatch.setattr("mien.evaluate.confidence_plots.png_bytes", keep)
    code, answer, _ = run(
        "mien-tiny", "--data", voted_folder, "--json", "--image", tmp_path / "a.png"
    )
    assert code == 0
    confidence = json.loads(answer)["consensus"]["confidence"]
    [figure] = drawn_figures
    curve, sets = figure.axes
    fractions, accuracy = curve.lines[0].get_xdata(), curve.lines[0].get_ydata()
    assert float(np.asarray(fractions)[-1]) == 1
    truth = json.loads(answer)["consensus"]["accuracy"]["value"]
    assert float(np.asarray(accuracy)[-1]) == pytest.approx(truth, abs=1e-5)
    dashed = [line for line in sets.lines if line.get_linestyle() == "--"]
    wanted = [one["coverage"] for one in confidence["prediction_sets"]]
    assert [float(np.asarray(line.get_ydata())[0]) for line in dashed] == wanted
