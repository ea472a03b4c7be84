"""What fails inside the watch never reaches the loop, and the report says that it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mien import doctor
from mien.doctor.programs import measuring, probe, recording
from mien.errors import ConfigError

CRITERION = nn.CrossEntropyLoss()
watch_with: Any = doctor.watch  # for arguments of the wrong types


def data(n: int = 240) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=n)
    x = rng.normal(size=(n, 8)) + 2 * np.eye(8)[y]
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def train(
    watch: Any, model: nn.Module, *, criterion: Any = CRITERION, epochs: int = 2, clip: Any = None,
    record: Callable[..., None] | None = None, validation: Any = (), x: torch.Tensor | None = None,
) -> Any:  # fmt: skip
    """Train as a loop does; `record(watch, loss, x, y)` replaces `watch.step`."""
    given, y = data()
    x = given if x is None else x
    torch.manual_seed(1)
    with watch:
        for _ in range(epochs):
            for rows in torch.randperm(180).split(16):
                loss = criterion(model(x[rows]), y[rows])
                for optimizer in watch.optimizers:
                    optimizer.zero_grad()
                loss.mean().backward()
                if clip:
                    clip(model.parameters())
                for optimizer in watch.optimizers:
                    optimizer.step()
                if record is None:
                    watch.step(loss, x[rows], y[rows])
                else:
                    record(watch, loss, x[rows], y[rows])
            if validation is not None:
                watch.validate(None, *(validation or (x[180:], y[180:])))
    return watch


def watched(model: nn.Module, rate: float = 0.05, **options: Any) -> doctor.Watch:
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return doctor.watch(model, optimizer, **{"loss": CRITERION, "every": 1, **options})


def fails(*given: Any, **named: Any) -> Any:
    raise ArithmeticError("broken on purpose")


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.last = nn.Embedding(17, 8, sparse=True), nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(self.embedding(x).flatten(1))


def test_sparse_gradients_are_measured() -> None:
    model = Embedded()
    halves = [model.embedding.parameters(), model.last.parameters()]
    optimizers = [torch.optim.SparseAdam(list(halves[0])), torch.optim.Adam(halves[1])]
    watch = doctor.watch(model, optimizers, loss=CRITERION, every=1)
    train(watch, model, x=(data()[0] * 2).long() % 17)
    assert watch.notes == []
    assert {"embedding.weight", "last.weight"} <= watch.had_gradient
    assert any(row.change is not None for row in watch.rows)


def test_a_loss_of_each_example_is_recorded_as_its_mean() -> None:
    model, each = network(), nn.CrossEntropyLoss(reduction="none")
    watch = train(watched(model, loss=each), model, criterion=each)
    assert all(loss.ndim == 0 for loss in watch.losses)
    assert watch.link is not None
    assert all(row.change is None for row in watch.rows)
    (note,) = watch.report().remarks
    assert note.startswith("the loss given to Watch.step has several values")
    assert f"note: {note}" in str(watch.report())


def test_lazy_modules_are_watched_from_their_first_forward_pass() -> None:
    x, y = data()
    model = nn.Sequential(nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))
    watch = watched(model)
    watch.validate(model, x[180:], y[180:])
    assert isinstance(model[0].weight, nn.UninitializedParameter)
    train(watch, model)
    assert watch.notes == [
        "a validation before the first forward pass of a lazy module was left out"
    ]
    assert watch.rows[0].step == 0
    assert watch.layer_names == {"0.weight", "3.weight"} == set(watch.gains)
    assert "1.weight" in watch.initial
    assert watch.report().facts["parameters"] == str(8 * 16 + 16 + 32 + 16 * 3 + 3)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        return {"logits": self.inner(inputs), "loss": labels}


@pytest.mark.parametrize(
    ("keys", "model"), [(("x", "y"), network()), (("inputs", "labels"), Named())]
)
def test_loaders_of_dictionaries_are_evaluated(keys: tuple[str, str], model: nn.Module) -> None:
    x, y = data()
    batches = [dict(zip(keys, pair, strict=True)) for pair in zip(x[180:], y[180:], strict=True)]

    def loss_of(output: Any, targets: torch.Tensor) -> torch.Tensor:
        return CRITERION(output["logits"] if isinstance(output, dict) else output, targets)

    loader = DataLoader(batches, batch_size=16)  # type: ignore[arg-type, var-annotated]
    watch = train(watched(model), model, validation=(loader,), criterion=loss_of)
    assert watch.notes == []
    assert [epoch.n for epoch in watch.validation.epochs] == [60, 60]
    assert watch.validation.epochs[-1].right > 40


def test_a_loader_of_another_form_is_named_once() -> None:
    x, y = data()
    for batches, text in (
        ([{"x": x, "z": y}] * 3, "has the keys x, z, none of labels, label, targets, target, y"),
        ([(x, y, y)] * 3, "is a tuple of 3, not (inputs, targets)"),
    ):
        model = network()
        watch = train(watched(model), model, validation=(batches,))
        (note,) = watch.report().remarks
        assert note.startswith("the validation failed after 12 steps and was stopped: ValueError")
        assert text in note
        assert "(trees.py, line " in note


def test_a_pass_over_a_loader_takes_no_random_numbers_from_the_loop() -> None:
    x, y = data()
    states = []
    for validates in (False, True):
        model = network()
        loader = DataLoader(TensorDataset(x[180:], y[180:]), 16, shuffle=True)
        train(watched(model), model, validation=(loader,) if validates else None)
        states.append((torch.get_rng_state(), model.state_dict()))
    assert torch.equal(states[0][0], states[1][0])
    assert all(torch.equal(states[0][1][name], states[1][1][name]) for name in states[0][1])


class Stateful(nn.Module):
    """Keeps a buffer by assignment, and a state as an attribute, from pass to pass."""

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.register_buffer("mean", torch.zeros(8))
        self.state, self.passes = torch.zeros(8), 0

    def forward(self, x: torch.Tensor) -> Any:
        self.mean = 0.9 * self.mean + 0.1 * x.mean(dim=0).detach()
        self.state, self.passes = self.state + self.mean, self.passes + 1
        return self.inner(x - self.state)


def test_what_a_model_keeps_from_pass_to_pass_is_restored() -> None:
    plain, seen = Stateful(), Stateful()
    plain_watch = watched(plain)
    train(plain_watch, plain, record=lambda *_: plain_watch.close(), validation=None)
    watch = train(watched(seen), seen)
    assert any(row.change is not None for row in watch.rows)
    assert (seen.passes, plain.passes) == (24, 24)
    assert torch.equal(seen.state, plain.state)
    assert all(torch.equal(v, seen.state_dict()[n]) for n, v in plain.state_dict().items())


@pytest.mark.parametrize(
    ("where", "name", "what"),
    [
        (probe.Probe, "row", "measuring steps"),
        (probe.Probe, "optimizer_starts", "measuring steps"),
        (probe.Probe, "forward_starts", "measuring steps"),
        (probe.Probe, "__init__", "measuring steps"),
        (measuring, "main_output", "measuring steps"),
        (measuring, "resident_mb", "reading the memory"),
        (probe, "first", "comparing gradients with the computed ones"),
        (measuring, "link_of", "computing the loss of a batch again"),
        (recording, "layer_weights", "measuring the initial weights"),
        (recording.Recording, "predict", "the validation"),
    ],
)
def test_a_failure_of_the_watch_ends_one_measurement_alone(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, what: str
) -> None:
    model = network()
    with monkeypatch.context() as patch:
        patch.setattr(where, name, fails)
        watch = train(watched(model), model)
    assert watch.steps == len(watch.losses) == 24
    assert watch.optimizer_steps > 0
    notes = [note for note in watch.report().remarks if note.startswith(f"{what} failed after ")]
    assert len(notes) == 1
    assert "ArithmeticError: broken on purpose (test_watch_safety.py, line " in notes[0]
    assert len(watch.validation.epochs) == 2
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert not watch.optimizers[0]._optimizer_step_pre_hooks
    assert not any(p._backward_hooks for p in model.parameters())
    if what != "measuring steps":
        assert watch.rows
    if what != "the validation":
        assert watch.train.count > 0


def test_values_of_another_type_do_not_end_the_loop() -> None:
    model = network()

    def record(watch: Any, loss: Any, x: Any, y: Any) -> None:
        watch.step({"loss": loss}, x, np.array(["a"] * len(x), dtype=object))

    watch = train(watched(model, every=None), model, record=record)
    assert watch.losses == []
    assert watch.steps == 24
    assert any(n.startswith("recording the losses failed") for n in watch.report().remarks)


def test_a_rate_that_is_no_number_does_not_end_the_loop() -> None:
    model = network()
    watch = watched(model)

    def record(watch: Any, loss: Any, x: Any, y: Any) -> None:
        group = watch.optimizers[0].param_groups[0]
        rate, group["lr"] = group["lr"], "none" if watch.steps > 3 else group["lr"]
        watch.step(loss, x, y)
        group["lr"] = rate

    train(watch, model, record=record)
    assert watch.rates == [0.05] * 24
    assert len(watch.rows) > 5
    assert "recording the learning rates failed" in watch.report().remarks[0]


def test_errors_of_the_loop_itself_are_raised() -> None:
    model, (x, y) = network(), data()
    watch = watched(model)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), watch:
        watch.step(CRITERION(model(x), y), x, y)
        model(x[:, :5])
    assert watch.failure.startswith("RuntimeError")


def test_labels_as_numpy_arrays_or_lists_are_taken() -> None:
    for change in (lambda y: y.numpy(), lambda y: y.tolist(), lambda y: y.numpy()[::-1][::-1]):
        model = network()

        def record(watch: Any, loss: Any, x: Any, y: Any, change: Any = change) -> None:
            watch.step(loss, x.numpy(), change(y))

        watch = train(watched(model), model, record=record)
        assert watch.link is not None
        report = watch.report()
        assert (report.facts["task"], report.remarks) == ("classification", ())


def test_what_was_not_given_is_said() -> None:
    def remarks(record: Callable[..., None] | None = None, **options: Any) -> tuple[str, ...]:
        model = network()
        given = options.pop("validation", ())
        watch = watched(model, **options)
        train(watch, model, record=record, validation=given)
        return watch.report().remarks

    x, y = data()
    assert remarks() == ()
    assert remarks(lambda *_: None)[0].startswith("Watch.step was never called")
    assert remarks(lambda w, loss, x, y: w.step(loss))[0].startswith("Watch.step got no inputs")
    assert remarks(lambda w, loss, x, y: w.step(loss, x))[0].startswith("Watch.step got no targets")
    assert remarks(lambda w, loss, x, y: w.step(None, x, y)) == (
        "Watch.step got no loss: what needs losses was not judged",
    )
    assert remarks(validation=(x[:0], y[:0])) == ("Watch.validate got no examples",)
    assert remarks(validation=([],)) == ("Watch.validate got no examples",)
    assert "ValueError: 60 inputs, but 40 targets" in remarks(validation=(x[180:], y[200:]))[0]
    assert remarks(classes=["a", "b"]) == (
        "classes: 2 names for 3 classes of the outputs; the names are not used",
    )


def test_targets_of_each_token_are_validated() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> Any:
            return self.layer(x.reshape(len(x), 2, 4)).reshape(-1, 3)

    model, (x, y) = Tokens(), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    labels = y.repeat_interleave(2)
    with doctor.watch(model, optimizer, loss=CRITERION, every=1) as watch:
        for _ in range(3):
            loss = CRITERION(model(x[:32]), labels[:64])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.step(loss, x[:32], labels[:64])
        watch.spent_validating = 1e9  # beyond the budget: 64 of 240 examples are evaluated
        watch.validate(model, x, labels)
    assert watch.notes == []
    assert watch.validation.epochs[0].n == 64


def norm_clip(limit: float) -> Callable[[Iterator[nn.Parameter]], object]:
    return lambda parameters: nn.utils.clip_grad_norm_(parameters, limit)


def value_clip(limit: float) -> Callable[[Iterator[nn.Parameter]], object]:
    return lambda parameters: nn.utils.clip_grad_value_(parameters, limit)


@pytest.mark.parametrize(
    ("clip", "low", "high"),
    [(None, 0.9, 1.1), (norm_clip(1e-2), 0.95, 1.05), (value_clip(1e-4), 0.6, 1.6)],
)
def test_the_predicted_change_is_that_of_the_unclipped_gradient(
    clip: Any, low: float, high: float
) -> None:
    torch.manual_seed(0)
    # Smooth, in float64 and without batch norm: a small step changes the loss as predicted.
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    watch = watched(model, rate=1e-2)
    train(watch, model, clip=clip, x=data()[0].double(), validation=None)
    known = [(r.change, r.predicted) for r in watch.rows if r.change is not None]
    assert len(known) > 5
    ratio = sum(c for c, _ in known) / sum(p for _, p in known)
    assert low < ratio < high
    assert clip is None or all(r.clip is not None and r.clip < 0.2 for r in watch.rows)


def test_a_scaled_loss_is_not_taken_for_clipping() -> None:
    model, (x, y) = network().double(), data()
    x = x.double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with doctor.watch(model, optimizer, loss=CRITERION, every=1) as watch:
        for _ in range(4):
            loss = CRITERION(model(x), y)
            optimizer.zero_grad()
            (loss * 65536).backward()
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.grad /= 65536  # as GradScaler does before the optimiser's step
            optimizer.step()
            watch.step(loss, x, y)
    known = [(r.change, r.predicted) for r in watch.rows if r.change is not None]
    assert 0.9 < sum(c for c, _ in known) / sum(p for _, p in known) < 1.1


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (lambda m, o: watch_with(o, m), "model: expected .* found SGD, and the", "swap"),
        (lambda m, o: watch_with(m, None), "optimizer: expected .* found NoneType", "step"),
        (
            lambda m, o: watch_with(m, torch.optim.lr_scheduler.StepLR(o, 1)),
            "optimizer: expected .* found StepLR",
            "scheduler",
        ),
        (lambda m, o: watch_with(m, m), "optimizer: expected .* found Sequential", "pass"),
        (lambda m, o: watch_with(m, {"a": o}), "optimizer: expected .* found dict", "list"),
        (lambda m, o: watch_with(m, o, classes=10), "classes: .* found 10", "list"),
        (lambda m, o: watch_with(m, o, classes="abc"), "classes: .* found 'abc'", "list"),
        (lambda m, o: watch_with(m, o, every="10"), "every: .* found '10'", "int"),
        (lambda m, o: watch_with(m, o, every=1.5), "every: .* found 1.5", "int"),
        (lambda m, o: watch_with(m, o, every=True), "every: .* found True", "int"),
        (
            lambda m, o: watch_with(m, o, loss=nn.CrossEntropyLoss),
            "loss: .* found the class CrossEntropyLoss",
            r"CrossEntropyLoss\(\)",
        ),
    ],
)
def test_wrong_arguments_are_named(change: Any, message: str, hint: str) -> None:
    model = network()
    with pytest.raises(ConfigError, match=message) as caught:
        change(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert hint.replace("\\", "") in caught.value.hint
