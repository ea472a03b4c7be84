"""Weak results whose cause is measured, in small watched loops, each with a sound twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mien import doctor
from mien.doctor.finding import Finding

Batch = tuple[Tensor, Tensor]
CAUSES = {
    "learning-rate-too-low", "underfitting", "targets-are-classes", "reads-padding",
    "inputs-ignored", "order-ignored", "loss-not-decreasing", "shuffled-labels",
}  # fmt: skip


def train(
    model: nn.Module, data: Batch, *, lr: float, criterion: Any = None, batch: int = 32,
    epochs: int = 8, n: int = 0, names: set[str] = CAUSES,
    change: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Finding]:  # fmt: skip
    """Train on the first `n` examples, or three quarters, and return findings of these names."""
    criterion = criterion or nn.CrossEntropyLoss()
    x, y = data
    n = n or len(x) * 3 // 4
    steps = torch.optim.Adam(model.parameters(), lr=lr)
    with doctor.watch(model, steps, loss=criterion, every=3) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(n).split(batch):
                steps.zero_grad()
                inputs = x[rows] if change is None else change(x[rows])
                loss = criterion(model(inputs), y[rows])
                loss.backward()
                steps.step()
                watch.step(loss, inputs, y[rows])
            watch.validate(model, x[n:], y[n:])
    return {f.name: f for f in watch.report().findings if f.name in names}


def corners(classes: int = 6, size: float = 1.6) -> Batch:
    """Classes around random corners in ten dimensions."""
    torch.manual_seed(1)
    y = torch.randint(0, classes, (600,))
    return size * torch.randn(classes, 10)[y] + torch.randn(600, 10), y


def network(outputs: int = 6) -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, outputs))


def test_a_rate_so_low_that_the_loss_hardly_falls() -> None:
    found = train(network(), corners(), lr=4e-5)
    assert set(found) == {"learning-rate-too-low"}
    finding = found["learning-rate-too-low"]
    assert "about 0.0004" in finding.remedy
    assert "together could lower the loss by" in finding.evidence
    assert train(network(), corners(), lr=5e-3) == {}


def test_batches_that_leave_very_few_steps() -> None:
    found = train(network(), corners(), lr=1e-3, batch=225, epochs=12)
    assert set(found) == {"underfitting"}
    finding = found["underfitting"]
    assert "24 steps, 2 in an epoch, with batches of 225" in finding.evidence
    assert "smaller batches" in finding.remedy
    assert finding.confidence == "medium"
    assert train(network(), corners(), lr=1e-3, batch=16, epochs=12) == {}


def test_class_numbers_in_a_regression() -> None:
    x, y = corners(12, 1.3)
    found = train(network(1), (x, y.float()[:, None]), lr=5e-3, criterion=nn.MSELoss())
    assert set(found) == {"targets-are-classes"}
    assert "12 whole numbers from 0 to 11" in found["targets-are-classes"].evidence
    # Grades lie in an order: the same loss suits them, however far the training came.
    grades = (x[:, :3].sum(dim=1) / 1.5).round().clamp(-2, 3)[:, None]
    found = train(network(1), (x, grades), lr=5e-4, criterion=nn.MSELoss(), epochs=2)
    assert "targets-are-classes" not in found


def sentences(n: int = 480, length: int = 12) -> Batch:
    """Padded sequences of ids from 1; the class is which of two ids they hold."""
    torch.manual_seed(3)
    x = torch.randint(3, 25, (n, length))
    known = torch.randint(3, length, (n,))
    y = torch.randint(0, 2, (n,))
    x[torch.arange(n), torch.randint(0, 3, (n,))] = 1 + y
    x[torch.arange(length) >= known[:, None]] = 0
    return x, y


class Encoder(nn.Module):
    """A transformer layer over ids; `mask` makes the padding mask of where the padding is."""

    def __init__(self, mask: Callable[[Tensor], Tensor], *, places: bool = True) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.mask, self.embed = mask, nn.Embedding(25, 16)
        self.places = nn.Parameter(0.1 * torch.randn(12, 16)) if places else None
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        known = self.embed(x) if self.places is None else self.embed(x) + self.places
        mask = self.mask(x == 0)
        # Without a position to attend to the outputs are not numbers.
        mask = mask & ~mask.all(dim=1, keepdim=True)
        kept = (~mask)[..., None].float()
        hidden = self.block(known, src_key_padding_mask=mask)
        out: Tensor = self.head((hidden * kept).sum(dim=1) / kept.sum(dim=1))
        return out


class Recurrent(nn.Module):
    """A GRU over ids that reads one position's output, or the last one before the padding."""

    def __init__(self, place: int | None) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embed, self.rnn = nn.Embedding(25, 12), nn.GRU(12, 16, batch_first=True)
        self.head, self.place = nn.Linear(16, 2), place

    def forward(self, x: Tensor) -> Tensor:
        known = self.rnn(self.embed(x))[0]
        last = (x != 0).sum(dim=1) - 1
        chosen = known[:, self.place] if self.place is not None else known[range(len(x)), last]
        out: Tensor = self.head(chosen)
        return out


def test_an_inverted_padding_mask() -> None:
    found = train(Encoder(lambda padding: ~padding), sentences(), lr=3e-3)
    assert set(found) == {"reads-padding"}
    finding = found["reads-padding"]
    assert "True marks the padding" in finding.remedy
    assert finding.confidence == "high"
    assert train(Encoder(lambda padding: padding), sentences(), lr=3e-3) == {}


def test_the_last_position_of_padded_sequences() -> None:
    x, y = sentences()
    long = torch.cat([x, torch.zeros(len(x), 60, dtype=torch.long)], dim=1)
    found = train(Recurrent(-1), (long, y), lr=5e-3, epochs=4)
    assert set(found) == {"reads-padding"}
    assert "pack_padded_sequence" in found["reads-padding"].remedy
    assert train(Recurrent(None), (long, y), lr=1e-2) == {}


def test_the_first_output_of_a_recurrent_layer() -> None:
    torch.manual_seed(6)
    x = torch.randint(1, 25, (480, 10))
    y = torch.randint(0, 2, (480,))
    x[torch.arange(480), torch.randint(0, 10, (480,))] = torch.where(y == 1, 1, 2)
    found = train(Recurrent(0), (x, y), lr=5e-3, epochs=4)
    assert set(found) == {"inputs-ignored"}
    assert "10 of 10 positions" in found["inputs-ignored"].evidence
    assert "9 of them changed no output" in found["inputs-ignored"].evidence
    assert train(Recurrent(-1), (x, y), lr=1e-2) == {}


def order(n: int = 900) -> Batch:
    """Which of two ids comes first; both are in every sequence."""
    torch.manual_seed(7)
    x, y = torch.randint(3, 25, (n, 12)), torch.randint(0, 2, (n,))
    places = torch.rand(n, 12).argsort(dim=1)[:, :2].sort(dim=1).values
    x[torch.arange(n), places[:, 0]] = 1 + y
    x[torch.arange(n), places[:, 1]] = 2 - y
    return x, y


def test_attention_without_positions() -> None:
    def no_mask(padding: Tensor) -> Tensor:
        return torch.zeros_like(padding)

    found = train(Encoder(no_mask, places=False), order(), lr=3e-3, epochs=5)
    assert set(found) == {"order-ignored"}
    assert "positional encoding" in found["order-ignored"].remedy
    # With positions it may learn or not; without a need for them their lack is no fault.
    assert "order-ignored" not in train(Encoder(no_mask), order(), lr=3e-3, epochs=5)
    assert train(Encoder(no_mask, places=False), sentences(), lr=3e-3) == {}


@pytest.mark.parametrize("leads", [False, True])
def test_padding_is_found_at_either_end(leads: bool) -> None:
    from mien.doctor.programs.padding import padding_of

    x, _ = sentences()
    x = x.flip(1) if leads else x
    found = padding_of(x)
    assert found is not None
    assert found.leads == leads
    assert torch.equal(found.mask, x == 0)
    assert torch.equal(found.moved_mask().sum(dim=1), found.mask.sum(dim=1))
    moved = found.moved(x)
    assert bool((moved[:, -1 if leads else 0] == 0).float().mean() > 0.5)
    assert torch.equal(moved[found.moved_mask()], torch.zeros(int(found.mask.sum()), dtype=x.dtype))
    assert padding_of(torch.randint(1, 9, (64, 12))) is None
    values = torch.randn(64, 12, 3)
    values[x[:64] == 0] = 0
    known = padding_of(values)
    assert known is not None
    assert torch.equal(known.mask, x[:64] == 0)


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.embed, self.head = nn.Embedding(40, 16, padding_idx=0), network(2)
        self.head[0] = nn.Linear(16, 48)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.embed(x).mean(dim=1))
        return out


def words(n: int = 480) -> Batch:
    """Padded sequences of 38 ids; the class is whether the smaller ones are more."""
    torch.manual_seed(9)
    x = torch.randint(2, 40, (n, 14))
    x[torch.arange(14) >= torch.randint(8, 15, (n,))[:, None]] = 0
    return x, ((x > 1) & (x < 21)).sum(dim=1).gt((x > 20).sum(dim=1)).long()


def test_a_vocabulary_that_is_too_small_is_no_leak() -> None:
    x, y = words()
    known = {"tokens-unknown", "data-leakage", "dead-units"}
    assert train(Bag(), (x.clamp(max=4), y), lr=5e-3, names=known).keys() == {"tokens-unknown"}
    assert train(Bag(), (x, y), lr=5e-3, names=known) == {}
    # The last quarter, which is validation, holds examples of the rest.
    leaked = torch.cat([x[:360], x[:120]]), torch.cat([y[:360], y[:120]])
    assert train(Bag(), leaked, lr=5e-3, names=known).keys() == {"data-leakage"}


def test_other_class_counts_are_no_other_domain() -> None:
    x, y = corners()
    n = 450
    kept = torch.cat([(y[:n] == 1) | (y[:n] == 4) | (torch.arange(n) % 40 == 0),
                      torch.ones(150, dtype=torch.bool)])  # fmt: skip
    kept[:n] &= y[:n] != 0
    rows = kept[:n].nonzero()[:, 0].repeat(3)[:n]
    rows = torch.cat([rows, torch.arange(n, 600)])
    known = {"class-imbalance", "domain-shift", "label-encoding"}
    few = x[rows], y[rows]
    assert train(network(), few, lr=5e-3, names=known, n=len(rows) - 150).keys() == {
        "class-imbalance"
    }
    assert train(network(), (x, y), lr=5e-3, names=known) == {}
    # Values that differ within each class are another domain.
    moved = x.clone()
    moved[n:, :3] += 2.5
    assert "domain-shift" in train(network(), (moved, y), lr=5e-3, names=known)


def arrows(n: int = 480) -> Batch:
    """Images of four classes; the first two are mirror images of each other."""
    torch.manual_seed(10)
    x, y = torch.rand(n, 1, 8, 8) * 0.2, torch.randint(0, 4, (n,))
    shape = torch.tensor([[1.0, 0, 0], [1, 1, 1], [1, 0, 0]])
    forms = [shape, shape.flip(1), shape.T, torch.ones(3, 3)]
    for i, label in enumerate(y.tolist()):
        row, column = torch.randint(0, 6, (2,)).tolist()
        x[i, 0, row : row + 3, column : column + 3] += 0.9 * forms[label]
    return x, y


def convolution() -> nn.Sequential:
    torch.manual_seed(11)
    return nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(108, 4)
    )


def test_flips_that_turn_one_class_into_another() -> None:
    def flip(x: Tensor) -> Tensor:
        return torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)

    known = {"class-confusion", "class-never-predicted", "class-recall"}
    x, y = arrows()
    # The first class is rarer, so that both are predicted as the second.
    kept = (y != 0) | (torch.arange(480) % 3 > 0) | (torch.arange(480) >= 360)
    x, y = x[kept], y[kept]
    n = len(x) - 120
    found = train(convolution(), (x, y), lr=1e-2, names=known, n=n, change=flip, epochs=14)
    assert found.keys() == {"class-confusion"}
    assert "Training flips images left to right" in found["class-confusion"].remedy
    assert train(convolution(), (x, y), lr=1e-2, names=known, n=n, epochs=14) == {}


def test_logarithms_of_rounded_probabilities() -> None:
    def bce(p: Tensor, y: Tensor) -> Tensor:
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()

    x, y = corners(2, 3.0)
    model = nn.Sequential(network(1), nn.Sigmoid())
    found = train(model, (x, y.float()[:, None]), lr=0.1, criterion=bce,
                  names={"diverged"})  # fmt: skip
    assert "BCEWithLogitsLoss" in found["diverged"].remedy
    assert "a sigmoid's outputs" in found["diverged"].evidence
    model = nn.Sequential(network(1), nn.Sigmoid())
    sound = train(model, (x, y.float()[:, None]), lr=1e-3, criterion=bce,
                  names={"diverged"})  # fmt: skip
    assert sound == {}


class Residual(nn.Module):
    """A block whose input comes from a layer without an activation, and is added to its output."""

    def __init__(self, *, residual: bool) -> None:
        super().__init__()
        self.stem, self.residual = nn.Linear(10, 16), residual
        self.inner, self.outer, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        hidden = self.outer(torch.relu(self.inner(x)))
        out: Tensor = self.head(torch.relu(x + hidden if self.residual else hidden))
        return out


@pytest.mark.parametrize("residual", [True, False])
def test_a_residual_connection_after_the_first_layer(residual: bool) -> None:
    torch.manual_seed(12)
    model = Residual(residual=residual)
    found = train(model, corners(), lr=5e-3, names={"no-nonlinearity"}, epochs=3)
    assert ("no-nonlinearity" in found) is not residual


def test_what_follows_from_a_finding_is_left_out() -> None:
    from dataclasses import replace

    from tests.doctor.faults import FAULTS, healthy, program

    from mien.doctor.diagnose import diagnose

    given = {**FAULTS["model-too-small"], **FAULTS["dropout-too-strong"]}
    assert [f.name for f in diagnose(healthy(**given))] == ["dropout-too-strong"]
    given = {**FAULTS["dead-units"], **FAULTS["data-not-shuffled"]}
    assert [f.name for f in diagnose(healthy(**given))] == ["data-not-shuffled"]
    # An affine network underfits, and that needs no second finding.
    given = {**FAULTS["underfitting"], "program": program(is_affine=True)}
    assert [f.name for f in diagnose(healthy(**given))] == ["no-nonlinearity"]
    # With most classes found badly, one confusion is no matter of two classes.
    confused = FAULTS["class-confusion"]
    assert "class-confusion" in [f.name for f in diagnose(healthy(**confused))]
    held = confused["validation"]
    truth = held.y_true_n.copy()
    others = (truth != 1).nonzero()[0]
    truth[others[::2]] = 2 - truth[others[::2]]
    worse = {**confused, "validation": replace(held, y_true_n=truth)}
    assert "class-confusion" not in [f.name for f in diagnose(healthy(**worse))]
