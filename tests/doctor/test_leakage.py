"""Input columns that give the target away, and tasks that are solved honestly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import datasets
from tests.doctor.faults import healthy, program
from torch import Tensor, nn

from mien import doctor
from mien.doctor.diagnose import diagnose
from mien.doctor.programs.examine import evaluated
from mien.doctor.programs.examples import distinct_rows
from mien.doctor.programs.leakage import leak_of
from mien.doctor.programs.program import Leak
from mien.doctor.programs.tasks import task_of


def measured(x: Tensor, y: Tensor, model: nn.Module | None = None) -> Leak | None:
    torch.manual_seed(0)
    values = y.is_floating_point()
    units = y.reshape(len(y), -1).shape[1] if values else int(y.max()) + 1
    net = model or nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), units))
    loss: Any = nn.MSELoss() if values else nn.CrossEntropyLoss()
    watch = doctor.watch(net, torch.optim.SGD(net.parameters(), lr=0.1), loss=loss)
    for rows in torch.arange(len(x)).split(50):
        watch.step(1.0, x[rows], y[rows])
    outputs = evaluated(watch, watch.train.inputs)
    return leak_of(watch, task_of(watch, {"train": outputs, "validation": None}))


def hard(n: int = 400, k: int = 3) -> tuple[Tensor, Tensor]:
    """Classes that overlap: the columns together find about two thirds of them."""
    torch.manual_seed(1)
    y = torch.randint(0, k, (n,))
    return torch.randn(n, 6) + torch.eye(6)[y], y


def beside(x: Tensor, *columns: Tensor) -> Tensor:
    return torch.cat([x, *[c.reshape(len(x), -1).float() for c in columns]], dim=1)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_a_column_with_the_label(k: int) -> None:
    x, y = hard(k=k)
    code = torch.randperm(k)[y]  # in another order, scaled, and with a little noise
    for column in (y, 0.3 * code - 1, code + 0.02 * torch.randn(len(y))):
        found = measured(beside(x, column), y)
        assert found is not None
        assert (found.columns, found.copies, found.inputs) == ((6,), True, 7)
        assert found.alone == pytest.approx(1.0)
        assert found.others < 0.9


def test_one_hot_labels_among_the_columns() -> None:
    x, y = hard(k=4)
    found = measured(beside(x, torch.eye(4)[y]), y)
    assert found is not None
    assert (found.columns, found.copies) == ((6, 7, 8, 9), True)
    assert found.others < 0.9


def test_a_target_in_another_unit() -> None:
    torch.manual_seed(1)
    x = torch.randn(400, 6)
    y = x[:, :1] + x[:, 1:2] * x[:, 2:3] + 0.5 * torch.randn(400, 1)
    found = measured(beside(x, 100 - 7 * y + 0.1 * torch.randn(400, 1)), y)
    assert found is not None
    assert (found.columns, found.copies) == ((6,), True)
    assert found.others < 0.9
    # Any function of it may be the task: it is no copy.
    curve = measured(beside(x, y.exp()), y)
    assert curve is not None
    assert (curve.columns, curve.copies) == ((6,), False)


class Words(nn.Module):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(60, 8), nn.Linear(8, k)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.embed(x).mean(dim=1))
        return out


def sentences() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    y = torch.randint(0, 3, (400,))
    own = torch.rand(400, 10) < 0.3
    words = torch.where(own, 1 + 10 * y[:, None] + torch.randint(0, 10, (400, 10)),
                        torch.randint(1, 50, (400, 10)))  # fmt: skip
    return words, y


def test_a_token_that_names_the_class() -> None:
    x, y = sentences()
    marked = torch.cat([(50 + y)[:, None], x], dim=1)
    found = measured(marked, y, Words(3))
    assert found is not None
    assert (found.columns, found.copies, found.tokens) == ((0,), True, True)
    assert found.others < 0.97
    assert measured(x, y, Words(3)) is None


def test_public_tables_have_no_such_column() -> None:
    for load in (datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer):
        table = load()
        x, y = torch.tensor(table.data, dtype=torch.float32), torch.tensor(table.target)
        assert measured(x, y) is None
    table = datasets.load_diabetes()
    x, y = torch.tensor(table.data, dtype=torch.float32), torch.tensor(table.target)[:, None]
    assert measured(x, y.float()) is None
    digits = datasets.load_digits()
    images = torch.tensor(digits.images[:600], dtype=torch.float32)[:, None]
    assert measured(images, torch.tensor(digits.target[:600])) is None


def test_a_threshold_of_one_column_is_no_copy() -> None:
    x, _ = hard()
    found = measured(x, (x[:, 2] > 0).long())
    assert found is not None
    assert (found.columns, found.copies) == ((2,), False)


def low_rank() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(400, 3) @ torch.randn(3, 12)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.randn(40, 6), torch.randint(0, 2, (40,))),  # too few examples
        (torch.randn(400, 2), torch.randint(0, 2, (400,))),  # too few columns
        (torch.randn(400, 1).expand(400, 6), torch.randn(400, 1)),
        (low_rank(), low_rank()),  # an autoencoder
        (torch.ones(400, 6), torch.arange(400) // 200),  # columns without variation
        (torch.randn(400, 6), torch.zeros(400, 1)),
    ],
)
def test_what_is_not_judged(x: Tensor, y: Tensor) -> None:
    assert measured(x, y) is None


def test_columns_that_the_others_replace_are_no_finding() -> None:
    x = low_rank()
    found = measured(x, 14 + 5 * x[:, :1])
    assert found is not None
    assert found.others > 0.999
    assert diagnose(healthy(program=program(leak=found))) == []


@pytest.mark.parametrize(("copies", "severity"), [(True, "warning"), (False, "note")])
def test_a_copy_is_a_warning_and_a_function_a_note(copies: bool, severity: str) -> None:
    leak = Leak((4,), copies, 1.0, 0.7, 400, 9, tokens=False, classes=False)
    (found,) = diagnose(healthy(program=program(leak=leak)))
    assert (found.name, found.severity) == ("target-leakage", severity)
    assert "column 4 (from 0, of 9)" in found.evidence
    assert "R² of 0.70" in found.evidence


def report(x: Tensor, y: Tensor) -> doctor.Report:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(x.shape[1], 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer, criterion = torch.optim.Adam(model.parameters(), lr=5e-3), nn.CrossEntropyLoss()
    with doctor.watch(model, optimizer, loss=criterion, every=4) as watch:
        for _ in range(6):
            for rows in torch.randperm(320).split(16):
                optimizer.zero_grad()
                loss = criterion(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
            watch.validate(model, x[320:], y[320:])
    return watch.report()


def test_it_is_named_alone_and_its_remedy_removes_it() -> None:
    x, y = hard()
    (found,) = report(beside(x, y), y).findings
    assert (found.name, found.confidence) == ("target-leakage", "medium")
    assert report(x, y).findings == ()


def test_equal_rows_count_once_whatever_the_sign_of_a_zero() -> None:
    inputs = np.array([[0.0, 1.0], [-0.0, 1.0], [np.nan, 2.0], [np.nan, 2.0], [3.0, 4.0]])
    assert distinct_rows(inputs).tolist() == [0, 2, 4]
    # With another target it is another example.
    targets = np.array([[1.0], [2.0], [1.0], [1.0], [1.0]])
    assert distinct_rows(inputs, targets).tolist() == [0, 1, 2, 4]
    assert distinct_rows(np.zeros((0, 3))).tolist() == []
