"""Losses, sampling and targets that do not neglect a rare class."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from mien.data.dataset import Dataset
from mien.train.loop.loader import (
    Examples,
    _sharpening,
    batches,
    make_examples,
    sampling_chance,
)
from mien.train.loop.loss import TrainingLoss, effective_weights, soft_cross_entropy
from mien.train.recipe.settings import LossConfig, TargetConfig
from tests.train.test_fit import recipe

LOGITS = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
RIGHT = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])
EXAMPLES = Examples(
    torch.zeros(8, 1, 4, 4, dtype=torch.uint8), functional.one_hot(RIGHT, 3).float(), torch.ones(8)
)


def loss(**settings: object) -> torch.Tensor:
    config = replace(LossConfig(), **settings)  # type: ignore[arg-type]
    fitted = TrainingLoss.fitted(config, EXAMPLES.targets_nk, EXAMPLES.weights_n)
    weights = fitted.weights(EXAMPLES.targets_nk, EXAMPLES.weights_n)
    return fitted(LOGITS, EXAMPLES.targets_nk, weights)


def test_without_settings_it_is_cross_entropy() -> None:
    torch.testing.assert_close(loss(), functional.cross_entropy(LOGITS, RIGHT))


def test_balanced_weights_are_torchs_weighted_cross_entropy() -> None:
    weights = torch.tensor([8 / 15, 8 / 6, 8 / 3])
    expected = functional.cross_entropy(LOGITS, RIGHT, weight=weights)
    torch.testing.assert_close(loss(class_weights="balanced"), expected)


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_logit_adjustment_adds_the_log_prior(tau: float) -> None:
    shifted = LOGITS + tau * torch.tensor([5 / 8, 2 / 8, 1 / 8]).log()
    torch.testing.assert_close(loss(logit_adjustment=tau), functional.cross_entropy(shifted, RIGHT))


def test_logit_adjustment_learns_to_predict_without_the_prior() -> None:
    """Without any evidence in the input, the best constant logits are uniform, not the prior."""
    for tau, expected in ((0.0, [5 / 8, 2 / 8, 1 / 8]), (1.0, [1 / 3, 1 / 3, 1 / 3])):
        fitted = TrainingLoss.fitted(
            LossConfig(logit_adjustment=tau), EXAMPLES.targets_nk, EXAMPLES.weights_n
        )
        logits = torch.zeros(3, requires_grad=True)
        optimizer = torch.optim.LBFGS([logits], max_iter=100)

        def closure(
            fitted: TrainingLoss = fitted,
            logits: torch.Tensor = logits,
            optimizer: torch.optim.Optimizer = optimizer,
        ) -> torch.Tensor:
            optimizer.zero_grad()
            value = fitted(logits.expand(8, 3), EXAMPLES.targets_nk, EXAMPLES.weights_n)
            value.backward()
            return value

        optimizer.step(closure)
        torch.testing.assert_close(
            logits.softmax(0).detach(), torch.tensor(expected), atol=1e-3, rtol=0
        )


def test_effective_number_of_images() -> None:
    """E = (1 - beta^n) / (1 - beta); weights are 1 / E, of mean 1 over the images."""
    beta, counts = 0.9, torch.tensor([5.0, 2.0, 1.0, 0.0])
    effective = [(1 - beta**n) / (1 - beta) for n in (5, 2, 1)]
    raw = [1 / e for e in effective]
    mean = (5 * raw[0] + 2 * raw[1] + 1 * raw[2]) / 8
    expected = torch.tensor([*(r / mean for r in raw), 0.0])
    torch.testing.assert_close(effective_weights(counts, beta), expected)
    even = effective_weights(counts, 0.0)
    torch.testing.assert_close(even, torch.tensor([1.0, 1.0, 1.0, 0.0]))
    towards_balanced = effective_weights(counts.double(), 0.999999)
    torch.testing.assert_close(
        towards_balanced[:3], torch.tensor([8 / 15, 8 / 6, 8 / 3]).double(), atol=1e-4, rtol=0
    )


def test_focal_loss() -> None:
    p = math.exp(1.0) / (math.exp(1.0) + 2)
    logits, target = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    value = soft_cross_entropy(logits, target, torch.ones(1), LossConfig(focal_gamma=2.0))
    assert float(value) == pytest.approx(-((1 - p) ** 2) * math.log(p))


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("balanced", [1 / 3, 1 / 3, 1 / 3]),
        ("square_root", [f / (5**0.5 + 2**0.5 + 1) for f in (5**0.5, 2**0.5, 1)]),
    ],
)
def test_sampling_draws_rare_classes_more_often(sampling: str, expected: list[float]) -> None:
    chance_n = sampling_chance(EXAMPLES, sampling)
    assert chance_n is not None
    generator, drawn = torch.Generator().manual_seed(0), torch.zeros(3)
    for _ in range(2000):
        for _, targets, _ in batches(EXAMPLES, 8, generator, chance_n):
            drawn += targets.sum(dim=0)
    torch.testing.assert_close(drawn / drawn.sum(), torch.tensor(expected), atol=0.02, rtol=0)


def test_uniform_sampling_is_a_permutation() -> None:
    assert sampling_chance(EXAMPLES, "uniform") is None
    generator = torch.Generator().manual_seed(0)
    (batch,) = batches(EXAMPLES, 8, generator, None)
    assert batch[1].sum(dim=0).tolist() == [5, 2, 1]


def test_votes_of_rare_classes_are_sharpened() -> None:
    votes = np.array([[0.6, 0.4], [0.7, 0.3], [0.8, 0.2], [0.9, 0.1], [0.4, 0.6]])
    power = _sharpening(votes, np.ones(5), TargetConfig(sharpen=1.5, sharpen_rare=2.0))
    assert power[:4].tolist() == [1.5] * 4, "the most frequent class keeps `sharpen`"
    assert power[4] == pytest.approx(1.5 * (1 + 0.75)), "one face where the other has four"
    plain = _sharpening(votes, np.ones(5), TargetConfig(sharpen=1.5))
    assert plain.tolist() == [1.5] * 5


def test_faces_without_agreement_are_left_out(drawn: Dataset) -> None:
    votes = np.array([[8, 1, 1, 0], [5, 3, 2, 0], [4, 3, 1, 2], [2, 1, 1, 6]])
    rows = np.arange(4)
    data = replace(
        drawn.subset(np.isin(np.arange(len(drawn)), rows)),
        votes_nk=votes.astype(np.uint8),
        vote_names=("happy", "neutral", "sad", "angry"),
    )
    asked = recipe(targets={"kind": "votes", "min_votes": 1, "min_agreement": 0.5})
    everyone = recipe(targets={"kind": "votes", "min_votes": 1})
    # Of all ten raters, those who chose a class that is not learnt included.
    assert len(make_examples(data, asked)) == 2
    assert len(make_examples(data, everyone)) == 4
