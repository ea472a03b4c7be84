"""Training in several processes: the steps of one process, one run folder, clear errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mien.data.dataset import save_dataset
from mien.data.drawn import draw_dataset
from mien.errors import ConfigError
from mien.train.loop.distributed import ALONE, ProcessGroup, process_group
from mien.train.run.folder import open_run
from tests.train.test_fit import recipe, weights

ROOT = Path(__file__).parents[2]


def torchrun(processes: int, *command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.run(
        [sys.executable, *launcher, *command],
        capture_output=True, text=True, cwd=cwd, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    script = ("-m", "tests.train.two_processes")
    alone = subprocess.run(
        [sys.executable, *script, str(tmp_path / "one.pt")],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    together = torchrun(2, *script, str(tmp_path / "two.pt"))
    assert together.returncode == 0, together.stderr
    one, two = (torch.load(tmp_path / f"{name}.pt") for name in ("one", "two"))
    assert len(one["losses"]) == 20
    assert one["losses"] == pytest.approx(two["losses"], abs=1e-5)
    assert one["norms"] == pytest.approx(two["norms"], abs=1e-5)
    assert len(one["changes"]) == 5
    for ours, theirs in zip(one["changes"], two["changes"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert one["weights"].keys() == two["weights"].keys()
    for name, value in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], value, atol=1e-5, rtol=1e-5, msg=name)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "drawn"
    save_dataset(draw_dataset(count=240, seed=0), folder)
    return folder


def test_one_run_folder_resumed_by_another_number_of_processes(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = ["fit.epochs=2", "fit.batch_size=32", "network.width=4", "network.hidden=8"]
    options = [word for setting in settings for word in ("--set", setting)]
    first = torchrun(
        2, "-m", "mien", "train", "poster", "--data", str(data), "--out", str(run), *options
    )
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("best epoch") == 1
    config = json.loads((run / "config.json").read_text())
    assert config["machine"]["processes"] == 2
    assert not open_run(run).started_here()
    assert [m.epoch for m in open_run(run).read_metrics()] == [1, 2]
    assert len(open_run(run).read_signals()) == 2
    before = weights(open_run(run))
    config["recipe"]["fit"]["epochs"] = 3
    (run / "config.json").write_text(json.dumps(config))
    second = subprocess.run(
        [sys.executable, "-m", "mien", "train", "--resume", str(run)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert second.returncode == 0, second.stderr
    assert [m.epoch for m in open_run(run).read_metrics()] == [1, 2, 3]
    after = weights(open_run(run))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_an_error_is_shown_once_and_leaves_no_run_folder(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    failed = torchrun(
        2, "-m", "mien", "train", "poster", "--data", str(data), "--out", str(run),
        "--set", "fit.batch_size=33", "--set", "network.width=4",
    )  # fmt: skip
    assert failed.returncode != 0
    assert failed.stderr.count("fit.batch_size is 33, which 2 processes cannot split") == 1
    assert "fit.batch_size=34" in failed.stderr
    assert not run.exists()


@pytest.mark.parametrize(
    ("batch_size", "processes", "wanted"), [(33, 2, 34), (2, 4, 8), (6, 4, 8), (3, 3, 6)]
)
def test_a_batch_must_split_into_equal_shards(batch_size: int, processes: int, wanted: int) -> None:
    asked = recipe(fit={"batch_size": batch_size})
    with pytest.raises(ConfigError, match="equal shards") as caught:
        ProcessGroup(0, processes).check(asked)
    assert f"fit.batch_size={wanted}" in str(caught.value.hint)
    ProcessGroup(0, processes).check(recipe(fit={"batch_size": wanted}))
    ALONE.check(asked)


def test_the_hint_loss_needs_the_whole_batch() -> None:
    asked = recipe(
        distillation={
            "hint": 1.0,
            "on_augmented": True,
            "teachers": ["runs/teacher"],
            "weight": 0.5,
        }
    )
    ALONE.check(asked)
    with pytest.raises(ConfigError, match="whole batch in one process"):
        ProcessGroup(0, 2).check(asked)


def test_without_torchrun_the_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    batch, model = torch.arange(6), nn.BatchNorm1d(2)
    with process_group(torch.device("cpu")) as group:
        assert group is ALONE
        assert group.shard(batch) is batch
        assert group.wrap(model) is model
        assert group.mean(torch.tensor(0.5)) == 0.5
        assert group.from_main("text") == "text"


def test_other_ranks_draw_other_dropout_masks() -> None:
    masks = []
    for rank in range(3):
        torch.manual_seed(1)
        ProcessGroup(rank, 3).seed_dropout(seed=1, epoch=1)
        masks.append(torch.rand(4))
    # Rank 0 keeps its generator, whose state the checkpoint holds.
    torch.manual_seed(1)
    assert torch.equal(masks[0], torch.rand(4))
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])


def test_a_device_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(ConfigError, match="cannot train on mps"),
        process_group(torch.device("mps")),
    ):
        pass
