from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mien.data.dataset import Dataset
from mien.doctor.replay import is_reproducible
from mien.errors import ConfigError, RunFolderError
from mien.train.loop.distillation import (
    PooledFeatures,
    hint_loss,
    load_teachers,
    similarity,
    targets_for_batch,
    with_soft_targets,
)
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
    config = augmented.distillation
    batch = targets_for_batch(teachers, changed, plain.targets_nk, config)
    torch.testing.assert_close(batch.targets_nk, 0.25 * plain.targets_nk + 0.75 * probs)
    assert batch.similarity_nn is None
    without = targets_for_batch((), changed, plain.targets_nk, config)
    assert torch.equal(without.targets_nk, plain.targets_nk)
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


def test_similarity_does_not_depend_on_width_scale_or_offset() -> None:
    features = torch.randn(6, 5, generator=torch.Generator().manual_seed(3))
    wider = torch.cat([features, torch.zeros(6, 7)], dim=1)
    torch.testing.assert_close(similarity(features), similarity(wider * 40 + 9))
    torch.testing.assert_close(similarity(features).norm(dim=1), torch.ones(6))
    assert hint_loss(features, similarity(wider)).item() == pytest.approx(0, abs=1e-6)
    # Two pairs of like images; the student sees the pairs crosswise.
    teacher = similarity(torch.tensor([[1.0], [1.0], [-1.0], [-1.0]]))
    crosswise = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    # Every row is (±1/2, ...) and differs from the teacher's in two of four entries, by 1.
    assert hint_loss(crosswise, teacher).item() == pytest.approx(2)


def test_a_hint_makes_the_students_features_like_the_teachers(
    tmp_path: Path, drawn: Dataset
) -> None:
    teacher = create_run(tmp_path / "teacher", recipe(), drawn, tmp_path)
    fit(teacher, drawn)
    losses = {}
    for hint in (0.0, 3.0):
        distillation = DistillationConfig((str(teacher.path),), 0.5, on_augmented=True, hint=hint)
        one = replace(recipe(), distillation=distillation)
        one = replace(one, fit=replace(one.fit, seed=5, epochs=4))
        run = create_run(tmp_path / f"hint{hint:g}", one, drawn, tmp_path)
        state = fit(run, drawn)
        pixels = make_examples(drawn.split("validation"), one).pixels.float()
        with PooledFeatures(state.model.eval()) as features, torch.no_grad():
            state.model(pixels)
        (network,) = load_teachers(one)
        target = targets_for_batch(
            [network], pixels, torch.full((len(pixels), 3), 1 / 3), replace(distillation, hint=1)
        )
        assert target.similarity_nn is not None
        losses[hint] = hint_loss(features.last, target.similarity_nn).item()
    assert losses[3.0] < 0.7 * losses[0.0]


def test_a_hint_needs_teachers_that_see_the_students_images() -> None:
    for table in ({"hint": 1.0}, {"hint": 1.0, "teachers": ["runs/teacher"]}):
        with pytest.raises(ConfigError, match="distillation.hint: 1 needs teachers") as caught:
            recipe_from_dict({**VALUES, "distillation": table})
        assert "distillation.on_augmented=true" in caught.value.hint


def test_a_teacher_that_is_no_run_is_named(tmp_path: Path, drawn: Dataset) -> None:
    plain = make_examples(drawn.split("train"), recipe())
    with pytest.raises(RunFolderError, match="nowhere"):
        with_soft_targets(plain, recipe((str(tmp_path / "nowhere"),)))
