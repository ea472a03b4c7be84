from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mien.data.manifest import Dataset
from mien.errors import ConfigError, RunFolderError
from mien.train.config import Recipe, recipe_from_dict
from mien.train.distil import taught
from mien.train.doctor.replay import repeats
from mien.train.fit import fit
from mien.train.loader import make_examples
from mien.train.runfolder import create_run, load_scorer
from mien.train.settings import DistilConfig

VALUES = {
    "name": "teacher",
    "network": {"name": "tiny", "widths": [4, 4, 8, 8]},
    "fit": {"epochs": 2, "batch_size": 32, "threads": 1, "device": "cpu"},
}


def recipe(teachers: tuple[str, ...] = (), weight: float = 0.5) -> Recipe:
    return replace(recipe_from_dict(VALUES), distil=DistilConfig(teachers, weight))


def test_teachers_answers_are_mixed_into_the_targets(tmp_path: Path, drawn: Dataset) -> None:
    paths = []
    for seed in (0, 1):
        one = replace(recipe(), fit=replace(recipe().fit, seed=seed))
        run = create_run(tmp_path / f"run{seed}", one, drawn, tmp_path)
        fit(run, drawn)
        paths.append(str(run.path))
    plain = make_examples(drawn.split("train"), recipe())
    mixed = taught(plain, recipe((paths[0], paths[1]), 0.25))
    pictures = plain.pixels[:, 0].numpy()
    answers = torch.stack(
        [torch.from_numpy(load_scorer(Path(p)).logits(pictures)).softmax(1) for p in paths]
    ).mean(0)
    torch.testing.assert_close(mixed.targets_nk, 0.75 * plain.targets_nk + 0.25 * answers)
    assert taught(plain, recipe()) is plain
    # A student learns from them through the same command as anything else.
    student = create_run(tmp_path / "student", recipe((paths[0],)), drawn, tmp_path)
    state = fit(student, drawn)
    assert state.epoch == 2
    assert repeats(student, drawn) is None  # the teachers would have to answer again
    assert repeats(run, drawn) is True
    with pytest.raises(ConfigError, match="learnt happy, neutral, sad"):
        others = replace(recipe((paths[0],)), labels="happy,sad")
        taught(make_examples(drawn.split("train"), others), others)


def test_a_teacher_that_is_no_run_is_named(tmp_path: Path, drawn: Dataset) -> None:
    plain = make_examples(drawn.split("train"), recipe())
    with pytest.raises(RunFolderError, match="nowhere"):
        taught(plain, recipe((str(tmp_path / "nowhere"),)))
