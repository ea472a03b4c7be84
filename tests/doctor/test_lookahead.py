"""Models of sequences that see the positions they predict, and those that do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mien import doctor
from mien.doctor.programs.lookahead import lookahead_of
from mien.doctor.programs.program import Lookahead

Form = Callable[[Tensor], Tensor]


def same(x: Tensor) -> Tensor:
    return x


class Transformer(nn.Module):
    """A language model over 20 tokens."""

    def __init__(self, *, causal: bool, form: Form = same) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(20, 16), nn.Embedding(64, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head, self.causal, self.form = nn.Linear(16, 20), causal, form

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length) if self.causal else None
        h = self.embed(x) + self.place(torch.arange(length))
        return self.form(self.head(self.block(h, src_mask=mask)))


class Recurrent(nn.Module):
    def __init__(self, *, both: bool, batch_first: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.rnn = nn.LSTM(8, 8, batch_first=batch_first, bidirectional=both)
        self.head = nn.Linear(16 if both else 8, 20)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(self.embed(x))[0])
        return out


class Convolution(nn.Module):
    """Predicts the next value of each of 3 series."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.conv, self.pad = nn.Conv1d(3, 3, 3), (2, 0) if causal else (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(functional.pad(x.transpose(1, 2), self.pad))
        return out.transpose(1, 2)


class Translator(nn.Module):
    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.embed, self.causal, self.head = nn.Embedding(20, 16), causal, nn.Linear(16, 20)
        self.net = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)

    def forward(self, source: Tensor, known: Tensor) -> Tensor:
        length = known.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length) if self.causal else None
        out = self.net(self.embed(source), self.embed(known), tgt_mask=mask)
        made: Tensor = self.head(out)
        return made


def measured(model: nn.Module, inputs: Any, targets: Tensor) -> Lookahead | None:
    watch = doctor.watch(model, torch.optim.SGD(model.parameters(), lr=0.1))
    watch.step(1.0, inputs, targets)
    return lookahead_of(watch)


def tokens(rows: int = 16, length: int = 13) -> Tensor:
    torch.manual_seed(0)
    return torch.randint(1, 20, (rows, length))


def flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def classes_second(x: Tensor) -> Tensor:
    return x.transpose(1, 2)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("form", [same, flat, classes_second])
def test_a_mask_that_is_missing(form: Form, causal: bool) -> None:
    ids = tokens()
    found = measured(Transformer(causal=causal, form=form), ids[:, :-1], ids[:, 1:])
    assert found is not None
    assert found.positions == 16 * 11 - 11 * (16 - found.sequences)
    assert found.changed == (0 if causal else found.positions)
    assert (found.relative == 0.0) == causal
    assert causal or found.relative > 0.1


@pytest.mark.parametrize("both", [True, False])
def test_a_recurrent_network_in_both_directions(both: bool) -> None:
    ids = tokens()
    for batch_first in (True, False):
        inputs, targets = ids[:, :-1], ids[:, 1:]
        if not batch_first:
            inputs, targets = inputs.t().contiguous(), targets.t().contiguous()
        found = measured(Recurrent(both=both, batch_first=batch_first), inputs, targets)
        assert found is not None
        assert (found.relative > 0.01) == both


@pytest.mark.parametrize("causal", [True, False])
def test_values_padded_on_both_sides(causal: bool) -> None:
    torch.manual_seed(0)
    series = torch.randn(16, 13, 3)
    found = measured(Convolution(causal=causal), series[:, :-1], series[:, 1:])
    assert found is not None
    # A kernel of 3 sees one position ahead.
    assert found.changed == (0 if causal else 16)
    assert found.positions == 16 * 11


@pytest.mark.parametrize("causal", [True, False])
def test_the_second_sequence_of_a_translation(causal: bool) -> None:
    ids = tokens()
    found = measured(Translator(causal=causal), (tokens(16, 9), ids[:, :-1]), ids[:, 1:])
    assert found is not None
    assert (found.relative > 0.01) != causal


@pytest.mark.parametrize("causal", [True, False])
def test_targets_that_the_model_shifts_itself(causal: bool) -> None:
    ids = tokens()
    labels = ids.clone()
    labels[:, :2] = -100  # the loss ignores a prompt
    found = measured(Transformer(causal=causal), ids, labels)
    assert found is not None
    assert (found.relative > 0.01) != causal


def test_a_prompt_that_is_not_scored_may_be_read_as_a_whole() -> None:
    class Prefix(Transformer):
        def forward(self, x: Tensor) -> Tensor:
            hidden = self.embed(x)
            # The first four positions see each other; the others see what came before.
            before = hidden[:, :4].mean(dim=1, keepdim=True).expand(-1, 4, -1)
            later = before[:, :1] + hidden[:, 4:].cumsum(dim=1)
            return self.head(torch.cat([before, later], dim=1))

    ids = tokens()
    targets = ids[:, 1:].clone()
    targets[:, :4] = -100
    found = measured(Prefix(causal=True), ids[:, :-1], targets)
    assert found is not None
    assert found.relative == 0.0


@pytest.mark.parametrize(
    ("model", "inputs", "targets"),
    [
        # Classes, an autoencoder, masked tokens, copies: no next position is predicted.
        (Transformer(causal=False, form=lambda x: x[:, 0]), tokens(), tokens()[:, 0]),
        (Convolution(causal=False), torch.ones(16, 13, 3), torch.ones(16, 13, 3)),
        (nn.Linear(8, 8), torch.randn(16, 8), torch.randn(16, 8)),
        (Transformer(causal=False), tokens().clamp(max=10), tokens()),
        # As many classes as positions: either dimension of the output may be time.
        (Transformer(causal=False), tokens(16, 21)[:, :-1], tokens(16, 21)[:, 1:]),
        # One prediction for the whole sequence.
        (Transformer(causal=False, form=lambda x: x.mean(1)), tokens()[:, :-1], tokens()[:, 1:]),
        (Transformer(causal=False, form=lambda x: x / 0), tokens()[:, :-1], tokens()[:, 1:]),
    ],
)
def test_what_is_not_judged(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    assert measured(model, inputs, targets) is None


def trained(*, causal: bool) -> doctor.Report:
    torch.manual_seed(0)
    # Each token follows from the one before, seven times out of ten.
    chain, ids = torch.randperm(20), torch.randint(0, 20, (320, 1))
    for _ in range(12):
        random = torch.randint(0, 20, (320, 1))
        ids = torch.cat([ids, torch.where(torch.rand(320, 1) < 0.7, chain[ids[:, -1:]], random)], 1)
    model = Transformer(causal=causal, form=classes_second)
    optimizer, criterion = torch.optim.Adam(model.parameters(), lr=1e-2), nn.CrossEntropyLoss()
    with doctor.watch(model, optimizer, loss=criterion, every=4) as watch:
        for _ in range(12):
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                loss = criterion(model(ids[rows, :-1]), ids[rows, 1:])
                loss.backward()
                optimizer.step()
                watch.step(loss, ids[rows, :-1], ids[rows, 1:])
            watch.validate(model, ids[256:, :-1], ids[256:, 1:])
    return watch.report()


def test_it_is_named_and_its_remedy_removes_it() -> None:
    (found,) = trained(causal=False).findings
    assert (found.name, found.severity, found.confidence) == ("future-leak", "serious", "high")
    assert "is_causal=True" in found.remedy
    assert trained(causal=True).findings == ()
