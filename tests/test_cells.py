"""What a notebook shows: of a Reader, a Dataset, an Evaluation and a finding."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mien import Reader
from mien.data.dataset import Dataset
from mien.data.drawn import draw_faces
from mien.doctor.finding import Finding
from mien.evaluate.evaluate import evaluate
from mien.model.classifier import Classifier
from mien.report.cell import Table, cell_html
from mien.testing import FakeClassifier, FakeDetector


def test_text_is_escaped() -> None:
    html = cell_html("<b>", lines=["a < b"], tables=[Table(["<h>"], [["<c>"]])])
    assert "&lt;b&gt;" in html and "a &lt; b" in html and "<c>" not in html and "<h>" not in html


def test_a_reader_shows_its_settings() -> None:
    html = Reader(FakeClassifier(), detector=FakeDetector(), min_confidence=0.6)._repr_html_()
    for text in ("Reader, fake", "happy, neutral, sad", '<td style="text-align:left">0.6</td>'):
        assert text in html


def test_a_dataset_shows_counts_warnings_and_images(drawn: Dataset) -> None:
    html = drawn._repr_html_()
    assert "240 grey images of 48 x 48 pixels" in html
    for text in ("train", "validation", "neutral", "data:image/png;base64,"):
        assert text in html
    warned = replace(drawn, facts={"warnings": [{"message": "few images of <sad>"}]})
    assert "warning: few images of &lt;sad&gt;" in warned._repr_html_()
    # Before it is split, and without a single image.
    assert "no split" in draw_faces(12)._repr_html_()
    nothing = drawn.subset(drawn.labels_n < -1)._repr_html_()
    assert "0 grey images" in nothing and "<img" not in nothing


def test_an_evaluation_shows_its_figures_and_warnings(drawn: Dataset) -> None:
    evaluation = evaluate(Classifier.load("mien-tiny", 1), drawn, "validation")
    html = evaluation._repr_html_()
    assert evaluation.raw is not None
    value = evaluation.raw.headlines["balanced_accuracy"]
    assert f"{value.value:.4f} ({value.low:.4f} to {value.high:.4f})" in html
    assert f"raw label, n = {evaluation.raw.n}" in html and "rater consensus" not in html
    assert html.count("<tr>") == 1 + 6 + 3
    assert [text for text in evaluation.raw.warnings if text not in html] == []


@pytest.mark.parametrize("settings", [(), ("optimizer.lr=0.001",)])
def test_a_finding_shows_its_evidence(settings: tuple[str, ...]) -> None:
    finding = Finding("too-high", "serious", "it is <high>", "at 0.1", "Lower it.", settings)
    html = finding._repr_html_()
    assert "it is &lt;high&gt;" in html and "too-high, serious, confidence medium" in html
    assert ("--set optimizer.lr=0.001" in html) == bool(settings)
