from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mien.data.dataset import Dataset
from mien.doctor.replay import is_reproducible
from mien.errors import ConfigError, RunFolderError
from mien.train.loop.distillation import load_teachers, soft_targets_for_batch, with_soft_targets
from mien.train.loop.fit import fit
from mien.train.loop.loader import make_examples
from mien.train.recipe.recipe import Recipe, recipe_from_dict
from mien.train.recipe.settings import AugmentConfig, DistillationConfig, ScheduleConfig
from mien.train.run.folder import create_run, load_scorer, open_run

CONSTANT = ScheduleConfig("constant")

VALUES = {
    "name": "teacher",
    "network": {"name": "tiny", "widths": [4, 4, 8, 8]},
    "fit": {"epochs": 2, "batch_size": 32, "threads": 1, "device": "cpu"},
}


def recipe(teachers: tuple[str, ...] = (), weight: float = 0.5) -> Recipe:
    return replace(recipe_from_dict(VALUES), distillation=DistillationConfig(teachers, weight))


def test_teachers_probabilities_are_mixed_into_the_targets(tmp_path: Path, drawn: Dataset) -> None:
    paths = []
    for seed in (0, 1):
        one = replace(recipe(), fit=replace(recipe().fit, seed=seed))
        run = create_run(tmp_path / f"run{seed}", one, drawn, tmp_path)
        fit(run, drawn)
        paths.append(str(run.path))
    plain = make_examples(drawn.split("train"), recipe())
    mixed = with_soft_targets(plain, recipe((paths[0], paths[1]), 0.25))
    images = plain.pixels[:, 0].numpy()
    probs = torch.stack(
        [torch.from_numpy(load_scorer(Path(p)).logits(images)).softmax(1) for p in paths]
    ).mean(0)
    torch.testing.assert_close(mixed.targets_nk, 0.75 * plain.targets_nk + 0.25 * probs)
    assert with_soft_targets(plain, recipe()) is plain
    # A student learns from them through the same command as anything else.
    student = create_run(tmp_path / "student", recipe((paths[0],)), drawn, tmp_path)
    state = fit(student, drawn)
    assert state.epoch == 2
    assert is_reproducible(student, drawn) is None  # the teachers would have to answer again
    assert is_reproducible(run, drawn) is True
    with pytest.raises(ConfigError, match="learnt happy, neutral, sad"):
        others = replace(recipe((paths[0],)), labels="happy,sad")
        with_soft_targets(make_examples(drawn.split("train"), others), others)


def test_teachers_predict_on_the_augmented_images(tmp_path: Path, drawn: Dataset) -> None:
    run = create_run(tmp_path / "teacher", recipe(), drawn, tmp_path)
    fit(run, drawn)
    augmented = replace(
        recipe(),
        distillation=DistillationConfig((str(run.path),), 0.75, on_augmented=True),
        augment=AugmentConfig(flip=1.0, mixup=0.4),
    )
    plain = make_examples(drawn.split("train"), augmented)
    assert with_soft_targets(plain, augmented) is plain  # they predict in each step
    teachers = load_teachers(augmented)
    changed = plain.pixels.float().flip(3)
    probs = torch.from_numpy(load_scorer(run.path).logits(changed[:, 0].numpy())).softmax(1)
    targets = soft_targets_for_batch(teachers, changed, plain.targets_nk, augmented.distillation)
    torch.testing.assert_close(targets, 0.25 * plain.targets_nk + 0.75 * probs)
    assert torch.equal(
        soft_targets_for_batch((), changed, plain.targets_nk, augmented.distillation),
        plain.targets_nk,
    )
    before = [p.clone() for p in teachers[0].parameters()]
    weights = []
    for name, epochs in [("whole", [2]), ("resumed", [1, 2])]:
        for until in epochs:
            part = replace(augmented, fit=replace(augmented.fit, epochs=until), schedule=CONSTANT)
            folder = tmp_path / name
            student = (
                open_run(folder) if folder.exists() else create_run(folder, part, drawn, tmp_path)
            )
            state = fit(replace(student, recipe=part), drawn)
            assert len(state.teachers) == 1
        weights.append(torch.cat([p.detach().flatten() for p in state.model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert all(torch.equal(a, b) for a, b in zip(before, teachers[0].parameters(), strict=True))


def test_a_teacher_that_is_no_run_is_named(tmp_path: Path, drawn: Dataset) -> None:
    plain = make_examples(drawn.split("train"), recipe())
    with pytest.raises(RunFolderError, match="nowhere"):
        with_soft_targets(plain, recipe((str(tmp_path / "nowhere"),)))
