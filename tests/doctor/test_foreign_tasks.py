"""Findings of watched loops of many kinds: faults that are named, and sound twins without one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.doctor.faults import healthy, metrics, program
from tests.doctor.loops import Loss, train
from torch import Tensor, nn

from mien import doctor
from mien.doctor.diagnose import diagnose
from mien.doctor.programs.supply import gather

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def watched(
    model: nn.Module, loss: Loss, x: Tensor, y: Tensor, epochs: int = 6, lr: float = 3e-3
) -> doctor.Report:
    torch.manual_seed(0)
    return train(model, loss, x, y, epochs=epochs, lr=lr, batch=32).report()


def names(report: doctor.Report) -> list[str]:
    return [finding.name for finding in report.findings]


def low_rank(n: int = 480) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.tensor(rng.normal(size=(n, 4)) @ rng.normal(size=(4, 32)), dtype=torch.float32)


def autoencoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 8), nn.Linear(8, 24), nn.ReLU(),
        nn.Linear(24, 32),
    )  # fmt: skip


def perceptron(inputs: int, outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


def test_an_autoencoder_with_a_linear_bottleneck_is_sound() -> None:
    x = low_rank()
    assert names(watched(autoencoder(), nn.MSELoss(), x, x, epochs=12)) == []


class TokenModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(20, 32), nn.Linear(32, 20)

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.out(self.embed(tokens)).transpose(1, 2)
        return found


def test_targets_of_a_language_model_that_are_not_shifted_are_named() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(1, 20, (480, 13))
    assert names(watched(TokenModel(), nn.CrossEntropyLoss(), tokens, tokens)) == [
        "targets-are-inputs"
    ]
    shifted = watched(TokenModel(), nn.CrossEntropyLoss(), tokens[:, :-1], tokens[:, 1:])
    assert "targets-are-inputs" not in names(shifted)


def test_sentences_of_the_same_words_are_no_duplicates() -> None:
    rng = np.random.default_rng(0)
    words = np.arange(1, 13)
    tokens = torch.tensor(np.stack([rng.permutation(words) for _ in range(480)]))
    # Whether word 1 stands before word 2: the order is all that tells the classes apart.
    y = ((tokens == 1).int().argmax(1) < (tokens == 2).int().argmax(1)).long()

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(13, 8), perceptron(96, 2)

        def forward(self, rows: Tensor) -> Tensor:
            found: Tensor = self.head(self.embed(rows).flatten(1))
            return found

    torch.manual_seed(0)
    found = names(watched(Positions(), nn.CrossEntropyLoss(), tokens, y, epochs=12))
    assert "data-leakage" not in found
    assert "label-noise" not in found
    copied = torch.cat([tokens[:360], tokens[:120]])
    again = torch.cat([y[:360], y[:120]])
    found = names(watched(Positions(), nn.CrossEntropyLoss(), copied, again, epochs=2))
    assert "data-leakage" in found


def test_nan_among_the_targets_is_named() -> None:
    x = low_rank()
    y = x[:, :1].clone()
    y[3] = float("nan")
    report = watched(perceptron(32, 1), nn.MSELoss(), x, y)
    assert names(report) == ["nonfinite-inputs"]
    assert report.findings[0].title == "targets hold NaN or infinity"


def test_targets_in_large_units_are_named_and_not_called_divergence() -> None:
    x = low_rank()
    y = 2e5 + 1e4 * x[:, :1]
    assert names(watched(perceptron(32, 1), nn.MSELoss(), x, y)) == ["targets-not-scaled"]


def test_targets_of_a_large_mean_that_are_learnt_have_no_finding() -> None:
    x = low_rank()
    y = 14 + 5 * x[:, :1]
    assert names(watched(perceptron(32, 1), nn.MSELoss(), x, y, epochs=40, lr=0.01)) == []


def test_a_loss_of_the_wrong_sign_is_named() -> None:
    x = low_rank()
    y = (x[:, 0] > 0).long()
    model = perceptron(32, 2)

    def wrong(output: Tensor, target: Tensor) -> Tensor:
        decay = torch.stack([p.square().sum() for p in model.parameters()]).sum()
        return nn.functional.cross_entropy(output, target) - decay

    assert names(watched(model, wrong, x, y, epochs=20, lr=0.1)) == ["loss-unbounded"]


def test_several_labels_do_not_go_into_cross_entropy() -> None:
    x = low_rank()
    y = (x[:, :4] > 0).float()
    found = names(watched(perceptron(32, 4), nn.CrossEntropyLoss(), x, y))
    assert found == ["loss-activation-mismatch"]
    assert names(watched(perceptron(32, 4), nn.BCEWithLogitsLoss(), x, y, epochs=20)) == []
    soft = torch.softmax(3 * x[:, :4], dim=1)
    found = names(watched(perceptron(32, 4), nn.CrossEntropyLoss(), x, soft, epochs=20))
    assert "loss-activation-mismatch" not in found


def test_a_negative_validation_loss_has_no_ratio() -> None:
    history = [metrics(i, validation_loss=-0.1 if i == 2 else 0.4) for i in range(1, 11)]
    found = diagnose(healthy(program=program(kind="regression"), history=history))
    assert [finding.name for finding in found] == []
    history = [metrics(i, validation_loss=0.1 if i == 2 else 0.9) for i in range(1, 11)]
    found = diagnose(healthy(program=program(kind="regression"), history=history))
    assert [finding.name for finding in found] == ["validation-loss-rises"]


class Squashed(nn.Module):
    """A perceptron whose outputs go through a function, which no module shows."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.function = perceptron(8, 1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.body(x))


def test_a_sigmoid_whose_first_outputs_are_near_a_half_is_applied_twice() -> None:
    x = torch.randn(480, 8, generator=torch.Generator().manual_seed(1))
    y = (x[:, :1] + x[:, 1:2] > 0).float()
    loss = nn.BCEWithLogitsLoss()
    found = watched(Squashed(torch.sigmoid), loss, x, y, epochs=20)
    assert names(found) == ["loss-activation-mismatch"]
    assert "the sigmoid is applied twice" in str(found)
    assert names(watched(Squashed(lambda v: v), loss, x, y, epochs=20)) == []


def test_two_columns_that_outweigh_all_others_are_named() -> None:
    x = torch.randn(480, 10, generator=torch.Generator().manual_seed(1))
    y = x[:, :2].sum(dim=1, keepdim=True).sin()
    scales = torch.tensor([1.0, 1000.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 5000.0])
    found = watched(perceptron(10, 1), nn.MSELoss(), x * scales, y)
    assert "invalid-inputs" in names(found)
    assert "deviations of the 10 columns lie between" in str(found)
    usual = watched(perceptron(10, 1), nn.MSELoss(), x * scales.clamp(max=5.0), y)
    assert "invalid-inputs" not in names(usual)


def test_a_regression_on_tokens_has_a_report() -> None:
    # Its targets are no classes: a column per class had none for them, and the report failed.
    tokens = torch.randint(1, 20, (480, 6), generator=torch.Generator().manual_seed(1))
    y = (tokens > 9).float().mean(dim=1, keepdim=True)

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(20, 16), nn.Linear(16, 1)

        def forward(self, ids: Tensor) -> Tensor:
            found: Tensor = self.out(self.embed(ids).mean(dim=1))
            return found

    assert names(watched(Mean(), nn.MSELoss(), tokens, y, epochs=20, lr=0.02)) == []


def test_a_criterion_that_squeezes_the_predictions_itself() -> None:
    # Its own squeeze of a constant in the targets' shape failed, and with it the report.
    x = torch.randn(480, 8, generator=torch.Generator().manual_seed(1))
    y = x[:, 0] - x[:, 1]

    def loss(predictions: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.mse_loss(predictions.squeeze(1), targets)

    assert names(watched(perceptron(8, 1), loss, x, y, epochs=12, lr=0.01)) == []


def test_a_report_leaves_what_was_recorded_as_it_is() -> None:
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    model = perceptron(8, 3)
    optimizer = torch.optim.Adam(model.parameters())
    loss = nn.CrossEntropyLoss()
    with doctor.watch(model, optimizer, loss=loss, every=1) as watch:
        for rows in torch.arange(64).split(16):
            optimizer.zero_grad()
            value = loss(model(x[rows]), rows % 3)
            value.backward()
            optimizer.step()
            watch.step(value, x[rows], rows % 3)
    # As under autocast, whose float16 the examples that are predicted for the report do not have.
    watch.outputs.half = True
    before = vars(watch.outputs).copy()
    watch.report()
    assert vars(watch.outputs) == before
    assert watch.outputs.batches > 0
    evidence = gather(watch)
    assert evidence.program is not None
    assert evidence.program.outputs is not None
    assert evidence.program.outputs.half
