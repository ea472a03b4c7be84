"""What criterion and optimisers are set to, in small watched loops: faulty ones and sound ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien import doctor
from mien.doctor.programs.supply import gather

Batch = tuple[Tensor, Tensor]
NEW = {
    "targets-out-of-range", "class-weights-reversed", "label-smoothing-too-strong", "loss-summed",
    "momentum-too-high", "optimizer-replaced", "unused-optimizer", "gradients-discarded",
    "gradients-accumulate", "weight-decay-too-strong", "class-weights-too-strong",
    "exploding-gradients", "learning-rate-too-high",
}  # fmt: skip


def blobs(rare: float = 1 / 3) -> Batch:
    """Three classes in eight dimensions; `rare` of the examples are of the last one."""
    generator = torch.Generator().manual_seed(0)
    shares = torch.tensor([(1 - rare) / 2, (1 - rare) / 2, rare])
    y = torch.multinomial(shares, 400, replacement=True, generator=generator)
    return torch.randn(400, 8, generator=generator) + 2 * torch.eye(8)[y], y


def network(outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, outputs))


def fit(
    criterion: Any, data: Batch, optimizer: Any = None, *, model: nn.Module | None = None,
    epochs: int = 6, batch: int = 16,
) -> set[str]:  # fmt: skip
    """Train and return the names of the findings of this file's rules."""
    x, y = data
    model = model or network(1 if y.is_floating_point() else 3)
    make = optimizer or functools.partial(torch.optim.Adam, lr=5e-3)
    steps = make(model.parameters())
    with doctor.watch(model, steps, loss=criterion, every=2) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(300).split(batch):
                steps.zero_grad()
                loss = criterion(model(x[rows]), y[rows])
                loss.backward()
                steps.step()
                watch.step(loss, x[rows], y[rows])
            watch.validate(model, x[300:], y[300:])
    return NEW & {finding.name for finding in watch.report().findings}


def values(change: Callable[[Tensor], Tensor]) -> Batch:
    x, y = blobs()
    return x, change((y == 2).float()[:, None])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("criterion", "change"),
    [
        (nn.BCEWithLogitsLoss(), lambda y: 2 * y - 1),
        (functional.binary_cross_entropy_with_logits, lambda y: 3 * y),
        (nn.SoftMarginLoss(), lambda y: y),
        (nn.PoissonNLLLoss(), lambda y: 2 * y - 1),
    ],
)
def test_targets_that_the_loss_is_not_defined_for(criterion: Any, change: Any) -> None:
    assert fit(criterion, values(change)) == {"targets-out-of-range"}


@pytest.mark.parametrize(
    ("criterion", "change"),
    [
        (nn.BCEWithLogitsLoss(), lambda y: y),
        (nn.BCEWithLogitsLoss(), lambda y: 0.1 + 0.8 * y),
        (nn.SoftMarginLoss(), lambda y: 2 * y - 1),
        (nn.PoissonNLLLoss(), lambda y: 3 * y),
        (nn.MSELoss(), lambda y: 2 * y - 1),
        (lambda p, t: functional.relu(1 - p * t).mean(), lambda y: 2 * y - 1),
    ],
)
def test_targets_that_the_loss_takes(criterion: Any, change: Any) -> None:
    assert fit(criterion, values(change)) == set()


def counts(y: Tensor) -> Tensor:
    return torch.bincount(y).float()


def test_class_weights_that_grow_with_the_counts() -> None:
    x, y = blobs(rare=0.08)
    share = counts(y) / len(y)
    assert fit(nn.CrossEntropyLoss(weight=share), (x, y)) == {"class-weights-reversed"}
    assert fit(nn.CrossEntropyLoss(weight=share.sqrt()), (x, y)) == {"class-weights-reversed"}
    rare = x, (y == 2).float()[:, None]
    reversed_ = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(0.08))
    assert fit(reversed_, rare) == {"class-weights-reversed"}


def test_class_weights_that_balance_or_do_nothing() -> None:
    x, y = blobs(rare=0.08)
    share = counts(y) / len(y)
    for weight in (1 / share, share**-0.5, torch.ones(3), torch.tensor([1.0, 2.0, 1.5])):
        assert fit(nn.CrossEntropyLoss(weight=weight), (x, y)) == set()
    rare = x, (y == 2).float()[:, None]
    assert fit(nn.BCEWithLogitsLoss(pos_weight=torch.tensor(11.0)), rare) == set()
    # Equal counts: weights have reasons of their own.
    even = blobs()
    assert fit(nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1.1, 5.0])), even) == set()


def overlapping(fraction: float) -> Batch:
    """Two classes that overlap; `fraction` of the examples are positive."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 8, generator=generator)
    score = x[:, 0] + x[:, 1] * x[:, 2] + 0.7 * torch.randn(500, generator=generator)
    return x, (score > score.quantile(1 - fraction)).float()[:, None]


@pytest.mark.parametrize("fraction", [0.3, 0.5])
def test_a_class_weight_that_does_far_more_than_balance(fraction: float) -> None:
    data = overlapping(fraction)
    strong = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(100.0))
    assert fit(strong, data) == {"class-weights-too-strong"}
    x, y = data[0], data[1][:, 0].long()
    classes = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 100.0]))
    assert fit(classes, (x, y), model=network(2)) == {"class-weights-too-strong"}
    # What balances, and what favours a class a little.
    for weight in (1.0, (1 - fraction) / fraction, 4.0):
        sound = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight))
        assert fit(sound, data) == set()
        pair = nn.CrossEntropyLoss(weight=torch.tensor([1.0, weight]))
        assert fit(pair, (x, y), model=network(2)) == set()


def test_a_strong_class_weight_that_does_no_harm_has_no_finding() -> None:
    x, y = blobs()
    separate = 3 * torch.eye(8)[y] + 0.1 * x, (y == 2).float()[:, None]
    strong = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(100.0))
    assert fit(strong, separate, epochs=20) == set()


def test_the_chance_level_knows_the_weight_of_positive_examples() -> None:
    x, y = overlapping(0.25)
    # On the kept examples: the best constant of the criterion itself.
    kept = y[:300]
    for weight in (1.0, 3.0, 100.0):
        criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight))
        model = network(1)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        with doctor.watch(model, optimizer, loss=criterion, every=1) as watch:
            for rows in torch.arange(300).split(20):
                loss = criterion(model(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
        evidence = gather(watch)
        logits = torch.linspace(-6, 10, 4001)
        best = min(float(criterion(torch.full_like(kept, float(v)), kept)) for v in logits)
        assert evidence.chance == pytest.approx(best, rel=1e-3)
        assert evidence.program is not None
        half = float(criterion(torch.zeros_like(kept), kept))
        assert evidence.program.uniform == pytest.approx(half, rel=1e-5)


def test_label_smoothing() -> None:
    strong = functools.partial(functional.cross_entropy, label_smoothing=0.9)
    assert fit(strong, blobs()) == {"label-smoothing-too-strong"}
    assert fit(nn.CrossEntropyLoss(label_smoothing=0.6), blobs()) == {"label-smoothing-too-strong"}
    assert fit(nn.CrossEntropyLoss(label_smoothing=0.1), blobs()) == set()


def test_a_summed_loss_is_a_fault_only_where_steps_are_too_long() -> None:
    summed = nn.CrossEntropyLoss(reduction="sum")
    steep = functools.partial(torch.optim.SGD, lr=0.2, momentum=0.9)
    assert fit(summed, blobs(), steep, batch=64) == {"loss-summed"}
    # The remedies: a rate that fits the sum, or the mean.
    assert fit(summed, blobs(), functools.partial(torch.optim.SGD, lr=0.002)) == set()
    assert fit(nn.CrossEntropyLoss(), blobs(), steep, batch=64) == set()
    assert fit(summed, blobs()) == set()  # Adam


def test_momentum_whose_horizon_is_longer_than_the_training() -> None:
    x, y = blobs()
    shuffled = x[torch.randperm(400)], y  # what does not reach the baseline is judged

    def run(momentum: float, epochs: int = 6, data: Batch = shuffled) -> set[str]:
        make = functools.partial(torch.optim.SGD, lr=0.03, momentum=momentum)
        return fit(nn.CrossEntropyLoss(), data, make, epochs=epochs)

    assert run(0.999) == {"momentum-too-high"}
    assert run(0.9) == set()
    assert run(0.98) == set()  # 50 of 114 steps
    adam = functools.partial(torch.optim.Adam, lr=1e-3, betas=(0.9995, 0.99995))
    assert fit(nn.CrossEntropyLoss(), shuffled, adam) == {"momentum-too-high"}
    assert fit(nn.CrossEntropyLoss(), shuffled, torch.optim.Adam) == set()  # its second beta


def test_an_l2_penalty_that_outweighs_the_gradient() -> None:
    def run(make: Any, decay: float) -> set[str]:
        return fit(nn.CrossEntropyLoss(), blobs(), functools.partial(make, weight_decay=decay),
                   epochs=20)  # fmt: skip

    adam = functools.partial(torch.optim.Adam, lr=3e-3)
    assert run(adam, 1.0) == {"weight-decay-too-strong"}
    assert run(adam, 1e-4) == set()
    assert run(functools.partial(torch.optim.AdamW, lr=3e-3), 0.01) == set()
    assert run(functools.partial(torch.optim.SGD, lr=0.05), 5e-4) == set()


def loop(update: Callable[[Any, Any, Tensor, Tensor], Tensor], given: Any = None) -> set[str]:
    """Watch a loop whose steps `update` makes: (model, optimiser, inputs, labels) to the loss."""
    x, y = blobs()
    model = network()
    optimizer = given(model) if given else torch.optim.Adam(model.parameters(), lr=5e-3)
    with doctor.watch(model, optimizer, loss=functional.cross_entropy, every=2) as watch:
        for _ in range(4):
            for rows in torch.randperm(300).split(16):
                loss = update(model, optimizer, x[rows], y[rows])
                watch.step(loss, x[rows], y[rows])
    return NEW & {finding.name for finding in watch.report().findings}


def learn(model: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss = functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def test_an_optimiser_that_is_created_in_each_step() -> None:
    kept: list[Any] = []

    def anew(model: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        kept[:] = [torch.optim.Adam(model.parameters(), lr=5e-3)]
        return learn(model, kept[0], x, y)

    assert loop(anew) == {"optimizer-replaced"}
    assert loop(learn) == set()


def test_the_live_optimiser_is_named() -> None:
    x, y = blobs()
    model = network()
    given, other = (torch.optim.Adam(model.parameters(), lr=5e-3) for _ in range(2))
    with doctor.watch(model, given) as watch:
        for _ in range(7):
            watch.step(learn(model, other, x, y), x, y)
    (found,) = [f for f in watch.report().findings if f.name == "optimizer-replaced"]
    assert "Adam, whose state counts 7 steps" in found.evidence


def test_weights_that_never_change_have_no_other_optimiser() -> None:
    model = network()
    x, y = blobs()
    with doctor.watch(model, torch.optim.Adam(model.parameters())) as watch:
        for _ in range(30):
            watch.step(functional.cross_entropy(model(x), y), x, y)
    names = {finding.name for finding in watch.report().findings}
    assert "optimizer-not-stepped" in names
    assert "optimizer-replaced" not in names


def test_one_of_two_optimisers_is_never_stepped() -> None:
    def two(rate: float = 5e-3) -> Callable[[Any], list[Any]]:
        return lambda m: [torch.optim.Adam(m[0].parameters(), lr=rate),
                          torch.optim.Adam(m[2].parameters(), lr=5e-3)]  # fmt: skip

    def steps(places: tuple[int, ...]) -> Any:
        def update(model: Any, optimizers: Any, x: Tensor, y: Tensor) -> Tensor:
            model.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            for place in places:
                optimizers[place].step()
            return loss

        return update

    assert loop(steps((1,)), two()) == {"unused-optimizer"}
    assert loop(steps((0, 1)), two()) == set()
    assert loop(steps((1,)), two(rate=0.0)) == set()  # it rests on purpose


def accumulated(*, clear: bool, parts: int = 8) -> Any:
    def update(model: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        for a, b in zip(x.split(16 // parts), y.split(16 // parts), strict=False):
            if clear:
                optimizer.zero_grad()
            loss: Tensor = functional.cross_entropy(model(a), b) / parts
            loss.backward()
        optimizer.step()
        return loss

    return update


def attacked(model: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
    """Adversarial training: the attack's backward passes are thrown away on purpose."""
    adversary = x.clone()
    for _ in range(5):
        adversary = adversary.detach().requires_grad_()
        functional.cross_entropy(model(adversary), y).backward()
        assert adversary.grad is not None
        adversary = adversary + 0.01 * adversary.grad.sign()
    return learn(model, optimizer, adversary.detach(), y)


def sharpness_aware(model: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
    functional.cross_entropy(model(x), y).backward()
    moves = [0.05 * p.grad for p in model.parameters()]
    with torch.no_grad():
        for p, move in zip(model.parameters(), moves, strict=True):
            p.add_(move)
    optimizer.zero_grad()
    loss = functional.cross_entropy(model(x), y)
    loss.backward()
    with torch.no_grad():
        for p, move in zip(model.parameters(), moves, strict=True):
            p.sub_(move)
    optimizer.step()
    optimizer.zero_grad()
    return loss


def test_gradients_of_accumulated_batches_that_are_thrown_away() -> None:
    assert loop(accumulated(clear=True)) == {"gradients-discarded"}
    for sound in (accumulated(clear=False), attacked, sharpness_aware, learn):
        assert loop(sound) == set()


@pytest.mark.parametrize("clear", [True, False])
def test_the_closure_of_lbfgs(clear: bool) -> None:
    def make(model: Any) -> Any:
        return torch.optim.LBFGS(model.parameters(), lr=0.02, max_iter=3)

    def update(model: Any, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        def closure() -> Any:
            if clear:
                optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        result: Tensor = optimizer.step(closure)
        return result

    assert ("gradients-accumulate" in loop(update, make)) is not clear
