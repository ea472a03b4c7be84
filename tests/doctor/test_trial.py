from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import run_mien
from tests.train.test_fit import recipe

from mien.cli.doctor_trial import TrialRequest, accuracy_lines, print_trial, try_remedy
from mien.data.dataset import Dataset, load_dataset
from mien.doctor import trial as trials
from mien.doctor.finding import Finding
from mien.doctor.trial import first_remedy, remedied_recipe, run_trial, trial_path
from mien.errors import ConfigError, RunFolderError
from mien.evaluate.bootstrap import Estimate
from mien.train.loop.callbacks import Callback
from mien.train.loop.fit import fit
from mien.train.run.folder import RunFolder, create_run, open_run
from mien.train.run.metrics import EpochMetrics

NO_REMEDY = Finding("shuffled-labels", "serious", "t", "e 1.", "Check the labels.")
FASTER = Finding("learning-rate-too-low", "serious", "t", "e 1.", "Raise it.",
                 ("optimizer.lr=0.003",))  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mien.data.build import write_dataset
    from mien.data.drawn import draw_faces, split_drawn

    folder = tmp_path_factory.mktemp("trial") / "drawn"
    write_dataset(split_drawn(draw_faces(360, 3)), folder)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A training whose learning rate is far too low."""
    dataset = load_dataset(data)
    path = tmp_path_factory.mktemp("runs") / "slow"
    slow = recipe(fit={"epochs": 4, "threads": 1}, optimizer={"name": "adam", "lr": 1e-6},
                  network={"name": "poster", "width": 8, "hidden": 16})  # fmt: skip
    run = create_run(path, slow, dataset, data)
    fit(run, dataset)
    return run


@pytest.fixture(scope="module")
def dataset(data: Path) -> Dataset:
    return load_dataset(data)


def content(run: RunFolder) -> dict[str, bytes]:
    """The files of a training, without what the doctor writes beside them."""
    return {
        str(path.relative_to(run.path)): path.read_bytes()
        for path in run.path.rglob("*")
        if path.is_file() and not path.name.startswith(("doctor.", "lr-range-test."))
    }


def test_the_fault_of_a_real_training_goes_away(
    trained: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(trained)
    code, out, err = run_mien(capsys, monkeypatch, "doctor", trained.path, "--try", "--json")
    assert code == 0, err
    values = json.loads(out)
    assert "learning-rate-too-low" in [f["name"] for f in values["findings"]]
    trial = values["trial"]
    assert trial["finding"] == "learning-rate-too-low"
    assert trial["is_gone"] is True
    assert "learning-rate-too-low" not in [f["name"] for f in trial["findings"]]
    # Chance level is 1/3: the run has learnt nothing, the new one has.
    assert trial["before"] < 0.45
    assert trial["gain"]["value"] == pytest.approx(trial["after"] - trial["before"])
    assert trial["gain"]["low"] <= trial["gain"]["value"] <= trial["gain"]["high"]
    assert trial["epochs"] == trial["planned_epochs"] == 4
    assert content(trained) == before
    other = open_run(Path(trial["run"]))
    assert other.path == trained.path.with_name("slow-try")
    assert [f"optimizer.lr={other.recipe.optimizer.rate:.2g}"] == trial["settings"]
    assert other.read_status()["status"] == "finished"
    assert trial_path(trained) == trained.path.with_name("slow-try-2")


def test_a_trial_s_folder_is_named_as_the_run_was(
    trained: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.path.parent)
    assert not trial_path(open_run(Path("slow"))).is_absolute()
    monkeypatch.chdir(trained.path)
    # '.' has no name.
    assert trial_path(open_run(Path())).parent == trained.path.parent.resolve()


def test_findings_without_a_setting_say_so(
    trained: RunFolder, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert first_remedy([NO_REMEDY, FASTER]) is FASTER
    assert try_remedy(trained, dataset, None, [NO_REMEDY], TrialRequest(0.0, None)) is None
    said = capsys.readouterr().err
    assert "try: shuffled-labels: no setting can be tried for this finding" in said
    assert try_remedy(trained, dataset, None, [], TrialRequest(0.0, None)) is None
    assert "nothing was found" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no setting can be tried"):
        run_trial(trained, dataset, Path(trained.data), NO_REMEDY, trained.path / "x")


def test_a_budget_reduces_the_epochs(trained: RunFolder, tmp_path: Path, dataset: Dataset) -> None:
    run = create_run(tmp_path / "run", trained.recipe, dataset, Path(trained.data))
    rows = [
        EpochMetrics(**{**asdict(m), "seconds": seconds})
        for m, seconds in zip(trained.read_metrics(), (30.0, 10.0, 10.0, 10.0), strict=True)
    ]
    run.write_metrics([asdict(row) for row in rows])
    for budget_s, epochs in ((1000.0, 4), (25.0, 2), (1.0, 1)):
        changed, planned = remedied_recipe(run, FASTER, budget_s)
        assert (changed.fit.epochs, planned) == (epochs, 4)
        assert changed.optimizer.rate == 0.003
    assert run.recipe.optimizer.rate == 1e-6


def test_a_budget_stops_a_training_that_is_slower_than_thought(
    trained: RunFolder, tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        seconds = 0.0

        @classmethod
        def monotonic(cls) -> float:
            return cls.seconds

    class Slow(Callback):
        def on_epoch_end(self, metrics: EpochMetrics, *, best: bool) -> None:
            Clock.seconds += 40.0

    monkeypatch.setattr(trials, "time", Clock)
    trial = run_trial(trained, dataset, Path(trained.data), FASTER, tmp_path / "two", budget_s=100,
                      callbacks=[Slow()])  # fmt: skip
    assert (trial.epochs, trial.planned_epochs) == (2, 4)
    assert open_run(tmp_path / "two").read_status()["status"] == "interrupted"


def test_a_budget_below_one_epoch_is_an_error(
    trained: RunFolder, tmp_path: Path, dataset: Dataset
) -> None:
    with pytest.raises(ConfigError, match="too short for one epoch"):
        run_trial(trained, dataset, Path(trained.data), FASTER, tmp_path / "x", budget_s=1e-6)
    assert not (tmp_path / "x").exists()


def test_a_remedy_that_fails_is_reported(
    trained: RunFolder, tmp_path: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("optimizer.name=sgd", "optimizer.lr=1e9", "network.batch_norm=false")
    wild = Finding("learning-rate-too-low", "serious", "t", "e 1.", "r.", settings)
    trial = run_trial(trained, dataset, Path(trained.data), wild, tmp_path / "wild")
    assert "the loss became" in trial.failure
    assert not trial.is_gone
    assert trial.gain is None
    print_trial(trial)
    out = capsys.readouterr().out
    assert "the training failed" in out
    assert "change: unknown" in out


def test_ctrl_c_keeps_the_finished_epochs(
    trained: RunFolder, tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    class Stop(Callback):
        def on_epoch_end(self, metrics: EpochMetrics, *, best: bool) -> None:
            raise KeyboardInterrupt

    def interrupted(run: RunFolder, data: Dataset, callbacks: Any) -> Any:
        return fit(run, data, [*callbacks, Stop()])

    monkeypatch.setattr(trials, "fit", interrupted)
    path = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        try_remedy(trained, dataset, None, [FASTER], TrialRequest(60.0, path))
    assert f"resume: mien train --resume {path}" in capsys.readouterr().err
    stopped = open_run(path)
    assert len(stopped.read_metrics()) == 1
    fit(stopped, dataset)
    assert len(stopped.read_metrics()) == 4


def test_nothing_is_overwritten(trained: RunFolder, tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "note").write_text("x")
    with pytest.raises(RunFolderError, match="not empty"):
        run_trial(trained, dataset, Path(trained.data), FASTER, tmp_path / "taken")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "5m"], "--budget belongs to --try"),
        (["--out", "elsewhere"], "--out belongs to --try"),
        (["--try", "--budget", "soon"], "'soon' is not a duration"),
        (["--try", "--out", "RUN"], "is the run itself"),
    ],
)
def test_wrong_options_are_errors(
    trained: RunFolder, arguments: list[str], message: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    given = [str(trained.path) if a == "RUN" else a for a in arguments]
    code, _, err = run_mien(capsys, monkeypatch, "doctor", trained.path, *given)
    assert code == 2
    assert message in err


def test_logs_of_others_cannot_be_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss\n1,2.0\n2,1.0\n")
    code, _, err = run_mien(capsys, monkeypatch, "doctor", tmp_path, "--try")
    assert code == 2
    assert "logs of another program" in err


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (Estimate(0.1, 0.05, 0.15), "better"),
        (Estimate(-0.1, -0.15, -0.05), "worse"),
        (Estimate(0.01, -0.05, 0.06), "no difference is shown"),
    ],
)
def test_a_change_is_a_claim_only_beyond_its_interval(gain: Estimate, verdict: str) -> None:
    trial = trials.Trial("x", ("a=1",), Path("r"), 1, 1, 72, 0.5, 0.5 + gain.value, gain,
                         is_gone=True, findings=())  # fmt: skip
    assert accuracy_lines(trial)[-1].endswith(verdict)
