"""Weights that return, few examples, models that lag behind, constant masks and tokens."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.doctor.test_settings import blobs, network
from torch import Tensor, nn
from torch.nn import functional

from mien import doctor
from mien.doctor.programs.progress import progress_of

NEW = {"weights-reset", "few-examples", "stuck-at-zero", "validated-model-lags",
       "initial-loss-too-high", "tokens-unknown", "background-only"}  # fmt: skip


def fit(
    model: nn.Module, x: Tensor, y: Tensor, *, epochs: int = 6, batch: int = 16, held: int = 100,
    loss: Any = functional.cross_entropy, start: Callable[[], Any] = lambda: None,
    after: Callable[[], Any] = lambda: None, end: Callable[[], Any] = lambda: None,
    validated: nn.Module | None = None,
    order: Callable[[int], Tensor] = torch.randperm, lr: float = 0.1,
) -> set[str]:  # fmt: skip
    """Train and return the names of the findings of this file's rules."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr, 0.5)
    n = len(x) - held
    with doctor.watch(model, optimizer, loss=loss, every=2) as watch:
        for _ in range(epochs):
            start()
            for rows in order(n).split(batch):
                optimizer.zero_grad()
                value = loss(model(x[rows]), y[rows])
                value.backward()
                optimizer.step()
                watch.step(value, x[rows], y[rows])
                after()
            end()
            watch.validate(validated, x[n:], y[n:])
    return NEW & {finding.name for finding in watch.report().findings}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_weights_that_start_again_in_each_epoch() -> None:
    model = network()

    def anew() -> None:
        for layer in (model[0], model[2]):
            layer.reset_parameters()  # type: ignore[operator]

    state = copy.deepcopy(model.state_dict())
    assert fit(model, *blobs(), start=anew) == {"weights-reset"}
    assert fit(model, *blobs(), start=lambda: model.load_state_dict(state)) == {"weights-reset"}


def test_weights_that_go_on() -> None:
    x, y = blobs()
    assert fit(network(), x, y) == set()
    # The loss rises at the start of each epoch, as the first class has been forgotten.
    inner = y[:300].argsort()
    assert fit(network(), x, y, order=lambda n: inner[:n], lr=0.5) == set()
    # A slow average takes the weights' place while it is validated.
    model = network()
    average = copy.deepcopy(model)
    swapped: list[bool] = []

    @torch.no_grad()
    def move() -> None:
        for p, q in zip(average.parameters(), model.parameters(), strict=True):
            p.lerp_(q, 0.001)

    def swap(*, back: bool) -> None:
        if back and not swapped:
            return  # before the first epoch
        swapped.append(back)
        for p, q in zip(model.parameters(), average.parameters(), strict=True):
            p.data, q.data = q.data, p.data

    found = fit(model, x, y, after=move, start=lambda: swap(back=True), lr=0.5,
                end=lambda: swap(back=False))  # fmt: skip
    assert found == set()
    assert len(swapped) == 11


def test_few_distinct_examples() -> None:
    torch.manual_seed(1)
    x, y = torch.randn(230, 8), torch.randint(0, 3, (230,))
    wide = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 3))
    assert fit(wide, x, y, held=200, epochs=60) == {"few-examples"}
    # One batch in each of the steps of an epoch.
    wide = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 3))
    same = fit(wide, x, y, held=200, epochs=4, order=lambda n: torch.arange(16).repeat(25), lr=0.3)
    assert same == {"few-examples"}


def test_few_examples_that_suffice() -> None:
    x, y = blobs()
    assert fit(nn.Linear(8, 3), x[:130], y[:130], epochs=20) == set()  # few parameters
    assert fit(network(), x, y, epochs=12) == set()
    # Full batches: 300 examples, each step has them all.
    assert fit(network(), x, y, batch=300, epochs=30) == set()


class Adapted(nn.Module):
    """A frozen layer and a low-rank addition to it."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.base = nn.Linear(8, 3).requires_grad_(requires_grad=False)
        self.A = nn.Parameter(spread * torch.randn(2, 8))
        self.B = nn.Parameter(torch.zeros(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + x @ self.A.T @ self.B.T
        return out


def test_factors_that_are_both_zero() -> None:
    assert fit(Adapted(0.0), *blobs()) == {"stuck-at-zero"}
    assert fit(Adapted(0.1), *blobs()) == set()
    zero = network()
    nn.init.zeros_(zero[2].weight)  # type: ignore[arg-type]
    assert fit(zero, *blobs()) == set()  # the last layer alone may start at zero


@pytest.mark.parametrize(("decay", "lags"), [(0.9999, True), (0.9, False), (1.0, True)])
def test_an_average_that_is_validated(decay: float, lags: bool) -> None:
    model = network()
    average = copy.deepcopy(model)

    @torch.no_grad()
    def move() -> None:
        for a, b in zip(average.parameters(), model.parameters(), strict=True):
            a.lerp_(b, 1 - decay)

    found = fit(model, *blobs(), after=move, validated=average)
    assert found == ({"validated-model-lags"} if lags else set())


def test_another_network_may_be_validated() -> None:
    teacher = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    assert fit(network(), *blobs(), validated=teacher) == set()


def test_outputs_that_are_far_too_large_at_first() -> None:
    x, y = torch.randn(400, 8), torch.randint(0, 3, (400,))
    for factor, expected in ((300.0, {"initial-loss-too-high"}), (1.0, set())):
        model = network()
        with torch.no_grad():
            model[2].weight.mul_(factor)  # type: ignore[operator]
        found = fit(model, x, y, loss=lambda p, t: functional.cross_entropy(p, t), lr=1e-4)
        assert found - {"few-examples"} == expected


def test_a_learning_rate_that_spoils_the_first_step_is_no_initialisation() -> None:
    x, y = torch.randn(400, 8), torch.randint(0, 3, (400,))
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 3.0)
    with doctor.watch(model, optimizer, loss=functional.cross_entropy) as watch:
        for rows in torch.arange(48).split(16):
            optimizer.zero_grad()
            value = functional.cross_entropy(model(x[rows]), y[rows])
            value.backward()
            optimizer.step()
            watch.step(value, x[rows], y[rows])
    assert max(watch.known_losses()) > 10
    assert progress_of(watch).first_loss < 2


def test_a_segmentation_of_background_alone() -> None:
    masks = (torch.rand(200, 1, 8, 8) < 0.03).float()
    images = torch.randn(200, 1, 8, 8)
    net = lambda: nn.Conv2d(1, 1, 3, padding=1)  # noqa: E731 - one for each case
    bce = functional.binary_cross_entropy_with_logits
    assert fit(net(), images, masks, loss=bce) == {"background-only"}
    assert fit(net(), images + 8 * masks, masks, loss=bce, epochs=12, lr=0.5) == set()
    assert fit(net(), images, 1 - masks, loss=bce) == set()
    assert fit(net(), images, images, loss=functional.mse_loss) == set()


class Bag(nn.Module):
    """The mean of the embedded tokens, and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(300, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.embedding(x).mean(1))
        return out


def test_tokens_that_are_nearly_all_unknown() -> None:
    x, y = torch.randint(2, 300, (400, 12)), torch.randint(0, 3, (400,))
    # What a vocabulary of another text knows are few words, such as numbers and punctuation.
    unknown = torch.where(torch.rand(400, 12) < 0.9, torch.ones_like(x), x % 40 + 2)
    assert fit(Bag(), unknown, y) == {"tokens-unknown"}
    common = torch.where(torch.rand(400, 12) < 0.9, torch.ones_like(x), x)
    assert fit(Bag(), common, y) == set()  # most ids of the embedding occur
    padded = x.clone()
    padded[:, 2:] = 1  # as RoBERTa's
    assert fit(Bag(), padded, y) == set()
    assert fit(Bag(), padded.flip(1), y) == set()
    assert fit(Bag(), x, y) == set()
