"""Faults that a tester planted before the doctor knew them, each with a sound twin."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.doctor.faults import FAULTS, healthy, program
from torch import Tensor, nn

from mien import doctor
from mien.doctor.diagnose import diagnose
from mien.doctor.evidence import Predictions
from mien.doctor.finding import Finding
from mien.doctor.programs.bounds import bounds_of
from mien.doctor.programs.inspection import frozen_untrained
from mien.doctor.programs.label_order import labels_of
from mien.doctor.programs.link import Link
from mien.doctor.programs.measurements import Course, Progress
from mien.doctor.programs.task import Task

Batch = tuple[Tensor, Tensor]


def train(
    model: nn.Module, x: Tensor, y: Tensor, *, criterion: Any = None, lr: float = 5e-3,
    epochs: int = 12, held: Tensor | None = None, every: int = 3,
    before_step: Callable[[torch.optim.Optimizer], object] | None = None,
    after_epoch: Callable[[], object] | None = None, steps: torch.optim.Optimizer | None = None,
) -> dict[str, Finding]:  # fmt: skip
    """Train on the first three quarters, and validate on the rest, or on its labels `held`."""
    n, criterion = len(x) * 3 // 4, criterion or nn.MSELoss()
    optimizer = steps or torch.optim.Adam(model.parameters(), lr=lr)
    labels = y[n:] if held is None else held
    with doctor.watch(model, optimizer, loss=criterion, every=every) as watch:
        for _ in range(epochs):
            for rows in torch.randperm(n).split(32):
                optimizer.zero_grad()
                loss = criterion(model(x[rows]), y[rows])
                loss.backward()
                if before_step is not None:
                    before_step(optimizer)
                optimizer.step()
                watch.step(loss, x[rows], y[rows])
            watch.validate(model, x[n:], labels)
            if after_epoch is not None:
                after_epoch()
    return {f.name: f for f in watch.report().findings}


def values(n: int = 800) -> Batch:
    """A smooth function of five inputs, with a mean of 0 and a deviation of 1."""
    torch.manual_seed(1)
    x = torch.randn(n, 5)
    y = torch.sin(x[:, :1]) + 0.6 * x[:, 1:2] * x[:, 2:3] + 0.5 * x[:, 3:4]
    return x, (y - y.mean()) / y.std()


class Ending(nn.Module):
    """A network whose outputs go through a function, which no module shows."""

    def __init__(self, end: Callable[[Tensor], Tensor], bias: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.body, self.end = nn.Sequential(nn.Linear(5, 48), nn.ReLU(), nn.Linear(48, 1)), end
        last = self.body[2]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.end(self.body(x))
        return result


@pytest.mark.parametrize(
    ("end", "like"),
    [(torch.relu, "a ReLU"), (torch.sigmoid, "a sigmoid"),
     (lambda v: torch.tanh(v) / 2, "a clamp or a tanh")],
)  # fmt: skip
def test_outputs_that_a_function_keeps_from_the_targets(
    end: Callable[[Tensor], Tensor], like: str
) -> None:
    x, y = values()
    found = train(Ending(end), x, y, epochs=30)
    assert set(found) == {"loss-activation-mismatch"}
    assert found["loss-activation-mismatch"].evidence.endswith(f"as after {like}.")


def test_units_that_stay_equal_are_no_end_of_the_outputs() -> None:
    """They end the outputs at a value, too: their sum is that of one ReLU."""
    x, _ = values()
    model = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    assert set(train(model, x, x.sum(1, keepdim=True) / 5**0.5)) == {"poor-initialization"}


def test_outputs_that_reach_their_targets_have_no_end() -> None:
    x, y = values()
    assert train(Ending(lambda v: v), x, y, epochs=30) == {}
    # Targets that end where the outputs do, as clipped prices and probabilities.
    assert train(Ending(torch.relu), x, y.clamp(min=0), epochs=30) == {}
    assert train(Ending(torch.sigmoid), x, torch.sigmoid(2 * y), epochs=30) == {}


def test_bounds_need_many_outputs_at_an_end() -> None:
    link = Link("MSELoss", nn.MSELoss(), lambda o: o, lambda t: t)
    targets = torch.linspace(-1, 1, 200)[:, None]
    cut = targets.clamp(max=0.5)
    assert bounds_of(link, [cut], [targets], (-1.0, 0.5)) == (0.5,)
    # An earlier output went further: there is no end.
    assert bounds_of(link, [cut], [targets], (-1.0, 0.9)) == ()
    assert bounds_of(link, [0.5 * targets], [targets], (-0.5, 0.5)) == ()
    assert bounds_of(link, [cut[:40]], [targets[:40]], (-1.0, 0.5)) == ()
    assert bounds_of(None, [cut], [targets], (-1.0, 0.5)) == ()


def test_a_relu_that_gives_zero_for_all_examples() -> None:
    x, y = values()
    found = train(Ending(torch.relu, bias=-6.0), x, y)
    assert set(found) == {"vanishing-gradients"}
    assert "exactly 0" in found["vanishing-gradients"].evidence
    assert "ReLU on the outputs" in found["vanishing-gradients"].remedy


@pytest.mark.parametrize("bias", [-8.0, 0.0])
def test_units_that_are_dead_from_the_start(bias: float) -> None:
    x, y = values()
    torch.manual_seed(3)
    layers = [nn.Linear(5, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1)]
    nn.init.constant_(layers[2].bias, bias)  # type: ignore[arg-type]
    model = nn.Sequential(*layers)
    steps = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    found = train(model, x, y, steps=steps)
    assert ("dead-units" in found) is (bias < 0)
    assert not {"vanishing-gradients", "learning-rate-too-high"} & set(found)


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_that_are_zeroed_before_the_step(to_none: bool) -> None:
    x, y = values()
    found = train(Ending(lambda v: v), x, y, before_step=lambda o: o.zero_grad(set_to_none=to_none))
    assert "gradients-discarded" in found
    assert "no-gradient" not in found
    assert "before loss.backward()" in found["gradients-discarded"].remedy
    assert train(Ending(lambda v: v), x, y, epochs=30) == {}


def test_values_that_do_not_belong_to_their_inputs() -> None:
    x, y = values()
    mixed = y.clone()
    mixed[:600] = y[torch.randperm(600)]
    found = train(Ending(lambda v: v), x, mixed)
    assert "shuffled-labels" in found
    assert "targets of training (R²)" in found["shuffled-labels"].evidence
    found = train(Ending(lambda v: v), x, y, held=y[600:][torch.randperm(200)], epochs=30)
    assert "targets of validation are unrelated" in found["shuffled-labels"].title
    # Targets that are mostly noise in both splits are no such case.
    noisy = 0.1 * y + torch.randn_like(y)
    assert "shuffled-labels" not in train(Ending(lambda v: v), x, noisy)


def corners(k: int) -> Batch:
    torch.manual_seed(4)
    y = torch.randint(0, k, (600,))
    return 2.5 * torch.randn(k, 8)[y] + torch.randn(600, 8), y


@pytest.mark.parametrize("order", [[2, 0, 1, 3], [1, 0], [0, 1, 4, 2, 3]])
def test_validation_labels_in_another_order(order: list[int]) -> None:
    x, y = corners(len(order))
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, len(order)))
    held = torch.tensor(order)[y[450:]]
    found = train(model, x, y, criterion=nn.CrossEntropyLoss(), held=held)
    assert next(iter(found)) == "label-encoding"
    assert "in another order" in found["label-encoding"].title
    assert not {"shuffled-labels", "class-confusion", "class-never-predicted"} & set(found)


def test_one_class_that_is_taken_for_another_is_no_other_order() -> None:
    y = np.repeat(np.arange(3), 30)

    def mapping(held: list[int]) -> Any:
        parts = [
            Predictions(y, np.eye(3)[np.repeat(guess, 30)], np.zeros((90, 3)))
            for guess in ([0, 1, 2], held)
        ]
        return labels_of(Task(train=parts[0], validation=parts[1]))["label_mapping"]

    assert mapping([0, 2, 1]) == (0, 2, 1)
    assert mapping([0, 2, 2]) == ()
    assert mapping([0, 1, 2]) == ()


@pytest.mark.parametrize("length", [4, 24])
def test_a_linear_code_narrower_than_what_it_codes(length: int) -> None:
    torch.manual_seed(6)
    clean = torch.sin(6.28 * (torch.linspace(0, 1, 20) + torch.rand(600, 1)))
    layers = [nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, length)]
    model = nn.Sequential(*layers, nn.Linear(length, 20))
    # Not its inputs: noise is taken away.
    found = train(model, clean + 0.2 * torch.randn(600, 20), clean)
    assert ("no-nonlinearity" in found) is (length == 24)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_plateau_after_the_first_epochs(mode: Any) -> None:
    torch.manual_seed(7)
    x = torch.randn(800, 5)
    y = x[:, :1] - x[:, 1:2] + torch.randn(800, 1)
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
    steps = torch.optim.Adam(model.parameters(), lr=0.01)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(steps, mode, factor=0.3, patience=2)

    def step() -> None:
        with torch.no_grad():
            plateau.step(nn.functional.mse_loss(model(x[600:]), y[600:]))

    found = train(model, x, y, steps=steps, epochs=24, after_epoch=step)
    assert ("scheduler-mode" in found) is (mode == "max")


@pytest.mark.parametrize("deviation", [1.0, 0.02])
def test_a_frozen_embedding_that_is_noise(deviation: float) -> None:
    torch.manual_seed(8)
    model = nn.Embedding(300, 24, padding_idx=0)
    nn.init.normal_(model.weight, 0, deviation)
    with torch.no_grad():
        model.weight[0] = 0
    model.weight.requires_grad = False
    assert frozen_untrained(model) == ("weight",)
    # Learnt: words of a kind lie in one direction.
    with torch.no_grad():
        model.weight[1:40] += 1.5 * deviation * torch.randn(24)
    assert frozen_untrained(model) == ()
    sines = torch.outer(torch.arange(300.0), torch.logspace(0, -3, 24)).sin()
    assert frozen_untrained(nn.Embedding.from_pretrained(sines)) == ()


def test_a_low_rate_is_raised_further_in_a_short_training() -> None:
    x, y = values()

    def suggested(lr: float, epochs: int) -> float:
        found = train(Ending(lambda v: v), x, y, lr=lr, epochs=epochs)
        text = re.search(r"to about ([-.e0-9]*[0-9])", found["learning-rate-too-low"].remedy)
        assert text is not None
        return float(text[1])

    rate = suggested(1e-6, 15)
    assert 5e-4 < rate < 1e-2
    assert train(Ending(lambda v: v), x, y, lr=rate, epochs=60) == {}


def test_a_criterion_of_named_outputs_prints_no_warning(capfd: pytest.CaptureFixture[str]) -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(5, 1), nn.Linear(5, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"one": self.one(x), "two": self.two(x)}

    x, y = values(200)
    both = nn.functional.mse_loss
    train(Heads(), x, y, criterion=lambda o, t: both(o["one"], t) + both(o["two"], t), epochs=2)
    assert "Warning" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("moved", [0.01, 1.0])
def test_steps_that_change_nothing_are_not_too_long(moved: float) -> None:
    course = Course(reach=0.0, fall=0.0, certainty=0.0, kept=1.0, moved=moved)
    given = {
        **FAULTS["learning-rate-too-high"],
        "program": program(progress=Progress(course=course)),
    }
    found = [f.name for f in diagnose(healthy(**given))]
    assert ("learning-rate-too-high" in found) is (moved > 0.5)


def test_short_steps_along_a_momentum() -> None:
    x, y = corners(4)
    torch.manual_seed(9)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4))
    steps = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    found = train(model, x, y[torch.randperm(600)], criterion=nn.CrossEntropyLoss(), steps=steps)
    assert "learning-rate-too-high" not in found
    given: dict[str, Any] = {"criterion": nn.CrossEntropyLoss(), "epochs": 4}
    steps = torch.optim.SGD(model.parameters(), lr=30.0, momentum=0.9)
    assert {"learning-rate-too-high", "diverged"} & set(train(model, x, y, steps=steps, **given))
