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
    epochs: int = 8,
) -> dict[str, Finding]:  # fmt: skip
    """Train on three quarters of the data and return the findings of this file's kind by name."""
    criterion = criterion or nn.CrossEntropyLoss()
    x, y = data
    n = len(x) * 3 // 4
    steps = torch.optim.Adam(model.parameters(), lr=lr)
    with doctor.watch(model, steps, loss=criterion, every=3) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(n).split(batch):
                steps.zero_grad()
                loss = criterion(model(x[rows]), y[rows])
                loss.backward()
                steps.step()
                watch.step(loss, x[rows], y[rows])
            watch.validate(model, x[n:], y[n:])
    return {f.name: f for f in watch.report().findings if f.name in CAUSES}


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
