from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mien.data.dataset import Dataset
from mien.files import WriteError
from mien.train.loop.callbacks import Callback
from mien.train.loop.fit import fit
from mien.train.run.folder import RunFolder, load_scorer, open_run
from tests.train.test_fit import assert_same, start


class StopAfter(Callback):
    """Interrupts a training, as Ctrl-C would, at a given step of a given epoch."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = (epoch, step)

    def on_train_start(self, *_: object) -> None: ...
    def on_epoch_end(self, *_: object, **__: object) -> None: ...
    def on_train_end(self, status: str) -> None: ...
    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("optimizer", "at"), [("sgd", (3, 2)), ("adamw", (2, 1)), ("adam", (1, 3))]
)
def test_an_interrupted_run_resumes_to_the_same_weights(
    tmp_path: Path, drawn: Dataset, optimizer: str, at: tuple[int, int]
) -> None:
    changes = {"optimizer": {"name": optimizer, "lr": 0.01}}
    whole = start(tmp_path / "whole", drawn, **changes)
    fit(whole, drawn)
    cut = start(tmp_path / "cut", drawn, **changes)
    with pytest.raises(KeyboardInterrupt):
        fit(cut, drawn, [StopAfter(*at)])
    status = json.loads((cut.path / "status.json").read_text())
    assert (status["status"], status["epoch"]) == ("interrupted", at[0] - 1)
    if at[0] > 1:
        assert load_scorer(cut.path).epoch <= at[0] - 1  # usable as it is
    fit(open_run(cut.path), drawn)
    assert_same(whole, cut)


TRAINER = """
import json, os, signal, sys
from itertools import count
from pathlib import Path
from mien.data.drawn import draw_dataset
from mien.train.loop.fit import fit
from mien.train.run.folder import open_run

def die_at(number, when):
    calls, sync, replace = count(1), os.fsync, Path.replace

    def written(*arguments):
        if when == "written" and next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return sync(*arguments)

    def renamed(*arguments):
        done = replace(*arguments)
        if when == "renamed" and next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    os.fsync, Path.replace = written, renamed

data = draw_dataset(count=240, seed=0)
for line in sys.stdin:
    path, number, when = json.loads(line)
    child = os.fork()
    if child == 0:
        try:
            die_at(number, when)
            fit(open_run(Path(path)), data)
            os._exit(0)
        finally:
            os._exit(1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Trains the run folders that stdin names, each in a process of its own that can be killed.

Forked before torch has computed anything, so that torch is imported only once. A child kills
itself at its n-th file, once that is written under its temporary name, or once it is renamed."""


class Trainer:
    """Another process that trains, and is killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin
        assert process.stdout
        self.process, self.stdin, self.stdout = process, process.stdin, process.stdout

    def start(self, run: RunFolder, number: int = 0, when: str = "") -> int:
        print(json.dumps([str(run.path), number, when]), file=self.stdin, flush=True)
        return int(self.stdout.readline())

    def wait(self) -> int:
        return int(self.stdout.readline())


@pytest.fixture(scope="module")
def trainer() -> Iterator[Trainer]:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield Trainer(process)
    process.communicate()


def test_kill_9_at_any_moment_loses_nothing_but_time(
    tmp_path: Path, drawn: Dataset, trainer: Trainer
) -> None:
    changes = {"fit": {"epochs": 16}}
    whole = start(tmp_path / "whole", drawn, **changes)
    fit(whole, drawn)
    cut = start(tmp_path / "cut", drawn, **changes)
    codes = []
    for wait in (0.0, 0.13, 0.31, None):  # seconds after the first new epoch; None: to the end
        done = len(cut.read_metrics())
        child = trainer.start(cut)
        if wait is not None:
            while len(cut.read_metrics()) <= done and len(cut.read_metrics()) < 16:
                time.sleep(0.01)
            time.sleep(wait)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        codes.append(trainer.wait())
    assert -signal.SIGKILL in codes
    assert codes[-1] == 0
    assert_same(whole, cut)


# The status, then weights and JSON of best and last, metrics, signals.
KILLS = [*((number, "written") for number in range(1, 8)), (2, "renamed"), (4, "renamed")]


def test_kill_9_while_a_checkpoint_is_written(
    tmp_path: Path, drawn: Dataset, trainer: Trainer
) -> None:
    changes = {"fit": {"epochs": 6}}
    whole = start(tmp_path / "whole", drawn, **changes)
    fit(whole, drawn)
    cut = start(tmp_path / "cut", drawn, **changes)
    for number, when in KILLS:
        trainer.start(cut, number, when)
        assert trainer.wait() == -signal.SIGKILL
        left = list(cut.path.rglob(".*.part"))
        assert len(left) == (1 if when == "written" else 0)
        if cut.has_checkpoint:
            assert load_scorer(cut.path, "last").epoch >= 1
            assert load_scorer(cut.path).epoch >= 1
    trainer.start(cut)
    assert trainer.wait() == 0
    assert_same(whole, cut)
    assert not list(cut.path.rglob(".*.part"))
    assert len(list(cut.checkpoints.iterdir())) == 4


def test_a_disk_that_fills_up_loses_nothing_but_time(
    tmp_path: Path, drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, full = start(tmp_path / "whole", drawn), start(tmp_path / "full", drawn)
    fit(whole, drawn)
    sync = os.fsync

    def no_space(number: int) -> None:
        if (full.checkpoints / "last-0002.safetensors").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(WriteError, match="No space left on device"):
            fit(full, drawn)
    assert load_scorer(full.path).epoch in (1, 2)
    fit(full, drawn)
    assert_same(whole, full)
