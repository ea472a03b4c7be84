from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import run_mien
from tests.train.test_fit import recipe

from mien.data.dataset import Dataset, load_dataset
from mien.doctor import experiments
from mien.doctor.experiments import (
    LearningCurve,
    compare_smaller,
    judge_curve,
    learning_curve,
    smaller_recipe,
)
from mien.doctor.finding import Finding
from mien.doctor.report import Report
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import RULES
from mien.doctor.run_diagnostics import run_diagnostics
from mien.errors import MienError
from mien.evaluate.bootstrap import Estimate
from mien.evaluate.metrics import Rows
from mien.train.loop.fit import fit
from mien.train.loop.state import TrainingState
from mien.train.run.folder import RunFolder, create_run, open_run

TINY = ["--set", "network.width=4", "--set", "network.hidden=8", "--set", "fit.threads=1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mien.data.build import write_dataset
    from mien.data.drawn import draw_faces, split_drawn

    folder = tmp_path_factory.mktemp("doctor") / "drawn"
    write_dataset(split_drawn(draw_faces(360, 3)), folder)
    return folder


def test_a_training_ends_with_the_doctor_s_findings(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    arguments = ["train", "poster", "--data", data, *TINY, "--set", "fit.epochs=3",
                 "--set", "optimizer.lr=1e-6", "--out", run]  # fmt: skip
    code, out, _ = run_mien(capsys, monkeypatch, *arguments)
    assert code == 0
    assert "doctor: the learning rate is too low" in out
    assert "--set optimizer.lr=" in out
    # Rules that need a watched loop do not count: they are for other trainings.
    known = json.loads((run / "doctor.json").read_text())["not_judged"]
    own = [rule.name for rule in RULES.values() if PROGRAM not in rule.needs]
    unjudged = f"{len(set(own) & set(known))} of {len(own)} rules could not judge this training: "
    assert 0 < len(set(own) & set(known)) < len(own) < len(RULES)
    assert re.search(rf"\ndoctor: \d findings?; {unjudged}", out)
    assert (run / "doctor.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = run_mien(capsys, monkeypatch, "doctor", run, "--json")
    printed = json.loads(out)
    found = printed["findings"]
    assert code == 0
    # The same keys as for logs and watched loops.
    assert set(printed) == set(Report("", ()).to_dict())
    assert f"; {unjudged}" in printed["verdict"]
    assert printed["not_judged"] == {name: known[name] for name in own if name in known}
    assert found == json.loads((run / "doctor.json").read_text())["findings"]
    assert "learning-rate-too-low" in [finding["name"] for finding in found]
    test = json.loads((run / "lr-range-test.json").read_text())
    (small,) = [finding for finding in found if finding["name"] == "learning-rate-too-low"]
    assert small["settings"] == [f"optimizer.lr={test['suggestion']:.2g}"]
    assert "A range test suggests" in small["evidence"]


def test_a_damaged_range_test_is_an_error_that_says_so(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(data)
    run = create_run(tmp_path / "run", recipe(fit={"epochs": 1}), dataset, data)
    fit(run, dataset)
    (run.path / "lr-range-test.json").write_text('{"rates": [1]}')
    code, _, err = run_mien(capsys, monkeypatch, "doctor", run.path)
    assert code == 1
    assert "lr-range-test.json is damaged" in err
    assert "delete it" in err


def test_a_training_that_diverges_says_so_and_fails(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    wild = ["--set", "optimizer.name=sgd", "--set", "optimizer.lr=1e6",
            "--set", "network.batch_norm=false"]  # fmt: skip
    code, _, err = run_mien(
        capsys, monkeypatch, "train", "poster", "--data", data, *TINY, *wild, "--out", run
    )
    assert code == 1
    assert "doctor: the training diverged" in err
    assert "error: the loss became" in err
    assert json.loads((run / "status.json").read_text())["reason"].startswith("the loss became")
    code, out, _ = run_mien(capsys, monkeypatch, "doctor", run)
    assert code == 0
    assert "diverged" in out


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", '{"schema": 1, "rec', "damaged"),
        ("signals.jsonl", '{"epoch": 1, "lr', "damaged"),
        ("metrics.jsonl", '{"epoch": 1}\n', "damaged"),
    ],
)
def test_a_half_written_run_is_an_error_that_says_what(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    file: str, content: str, message: str,
) -> None:  # fmt: skip
    dataset = load_dataset(data)
    run = create_run(tmp_path / "run", recipe(fit={"epochs": 1}), dataset, data)
    fit(run, dataset)
    (run.path / file).write_text(content)
    code, _, err = run_mien(capsys, monkeypatch, "doctor", run.path)
    assert code == 1
    assert message in err
    assert "hint:" in err
    assert "Traceback" not in err


def test_other_data_is_refused(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(data)
    run = create_run(tmp_path / "run", recipe(fit={"epochs": 1}), dataset, data)
    config = run.path / "config.json"
    config.write_text(config.read_text().replace(dataset.fingerprint, "0" * 16))
    code, _, err = run_mien(capsys, monkeypatch, "doctor", run.path)
    assert code == 2
    assert "other data" in err


def test_find_lr_writes_its_curve_and_trains_nothing(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "test"
    code, printed, _ = run_mien(
        capsys, monkeypatch, "train", "poster", "--data", data, *TINY, "--find-lr", "--out", out
    )
    assert code == 0
    assert "suggestion: --set optimizer.lr=" in printed
    assert {p.name for p in out.iterdir()} == {"lr-range-test.json", "lr-range-test.png"}


def test_auto_is_resolved_once_and_kept(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    code, _, _ = run_mien(
        capsys, monkeypatch, "train", "poster", "--data", data, *TINY, "--set", "fit.epochs=1",
        "--set", "optimizer.lr=auto", "--out", run,
    )  # fmt: skip
    assert code == 0
    test = json.loads((run / "lr-range-test.json").read_text())
    assert open_run(run).recipe.optimizer.rate == test["suggestion"]


def test_diagnostics_leave_no_old_image(tmp_path: Path, drawn: Dataset) -> None:
    run = create_run(tmp_path / "run", recipe(fit={"epochs": 1}), drawn, tmp_path)
    fit(run, drawn)
    (run.path / "doctor.png").write_bytes(b"old")
    findings = run_diagnostics(run, drawn)
    if any(finding.plot for finding in findings):
        assert (run.path / "doctor.png").read_bytes() != b"old"
    else:
        assert not (run.path / "doctor.png").exists()


def test_half_the_width_is_half_of_every_width() -> None:
    small = recipe(network={"name": "small", "widths": [8, 16, 32], "blocks": [1, 1]})
    values = small.to_dict()
    values["network"] = {"name": "small", "widths": [8, 16, 32], "blocks": [1, 1]}
    from mien.train.recipe.recipe import recipe_from_dict

    assert smaller_recipe(recipe_from_dict(values)).network.options["widths"] == [4, 8, 16]
    assert smaller_recipe(recipe()).network.options["width"] == 2


def test_further_trainings_tell_size_and_data(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(data)
    run = create_run(tmp_path / "run", recipe(fit={"epochs": 2}), dataset, data)
    fit(run, dataset)
    curve, _ = learning_curve(run, dataset)
    assert curve.fractions == (0.25, 0.5, 1.0)
    assert all(a.low <= a.value <= a.high for a in curve.accuracies)
    trained = []

    def watched(run: RunFolder, *rest: Any) -> TrainingState:
        trained.append(run.path.name)
        return fit(run, *rest)

    monkeypatch.setattr(experiments, "fit", watched)
    finding = compare_smaller(run, dataset)
    assert trained == ["half-width"]
    # After two epochs of a tiny network neither is clearly better.
    assert finding is not None
    assert finding.name == "model-too-large"
    assert finding.numbers["n"] == int(np.sum(dataset.splits_n == "validation"))


def test_more_images_help_only_where_the_gain_is_sure() -> None:
    truth_n = np.tile(np.arange(3), 200)
    rng = np.random.default_rng(0)

    def rows(n: int, right: float) -> Rows:
        probabilities_nk = np.full((n, 3), 0.1, np.float32)
        wrong_n = (truth_n[:n] + (rng.random(n) > right)) % 3
        probabilities_nk[np.arange(n), wrong_n] = 0.8
        return Rows.of(truth_n[:n], probabilities_nk)

    def judged(n: int, half: float, whole: float) -> Finding | None:
        estimates = tuple(Estimate(v, v - 0.03, v + 0.03) for v in (half, half, whole))
        return judge_curve(
            LearningCurve((0.25, 0.5, 1.0), estimates), rows(n, whole), rows(n, half)
        )

    # 94.2% and 97.5% of 120 images, as chance gives them.
    assert judged(120, 0.942, 0.975) is None
    assert judged(600, 0.9, 0.9) is None
    found = judged(600, 0.75, 0.9)
    assert found is not None
    assert float(str(found.numbers["low"])) > 0.05
    assert "75.0% from 50%, 90.0% from 100%" in found.evidence


def test_pretrained_weights_have_no_half_width(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_dataset(data)
    start = create_run(tmp_path / "start", recipe(fit={"epochs": 1}), dataset, data)
    fit(start, dataset)
    tuned = recipe(fit={"epochs": 1, "init_from": str(start.path)})
    run = create_run(tmp_path / "tuned", tuned, dataset, data)
    fit(run, dataset)
    code, _, err = run_mien(capsys, monkeypatch, "doctor", run.path, "--deep")
    assert code == 0, err
    assert "note: half the width is not tried: the run's pretrained weights" in err
    assert "two experiments, about" in err
    assert not (run.path / "experiments" / "half-width").exists()


def test_a_missing_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="not a run folder"):
        open_run(tmp_path / "nowhere")
