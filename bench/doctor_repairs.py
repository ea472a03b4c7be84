"""What the doctor's remedies ask for, applied to the programs of bench/doctor_cases.py.

bench/doctor_remedies.py and bench/doctor_advice.py train these programs again with `REPAIRS`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from doctor_cases import Setup
from doctor_data_settings import (
    drop_in_training,
    join_labels,
    map_labels,
    one_label_each,
    remove_target,
)
from doctor_operators import rebuild

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.doctor import Finding

DEEP = 4
"""Linear layers above which a chain counts as deep."""


def set_rate(setup: Setup, finding: Finding) -> None:
    """Lower (or raise) the learning rate to the one that the remedy names."""
    named = re.search(r"to about (\d[\d.e+-]*)", finding.remedy)
    assert named is not None, finding.remedy
    for group in setup.optimizer.param_groups:
        group["lr"] = float(named.group(1).rstrip("."))


def set_rate_and_clip(setup: Setup, finding: Finding) -> None:
    set_rate(setup, finding)
    setup.clip = 1.0


def clip(setup: Setup, finding: Finding) -> None:
    setup.clip = 1.0


def clear_gradients(setup: Setup, finding: Finding) -> None:
    setup.zero_grad = True


def train_all(setup: Setup, finding: Finding | None) -> None:
    """Give the optimiser all parameters of the model that the loop calls."""
    for parameter in setup.model.parameters():
        parameter.requires_grad = True
    rebuild(setup)
    if finding is not None:
        use_adamw(setup, finding)


def use_adamw(setup: Setup, finding: Finding) -> None:
    """Use AdamW at the rate that the remedy names, if it names one."""
    named = re.search(r"AdamW at (\d[\d.]*)", finding.remedy)
    if named is not None:
        rate = float(named.group(1).rstrip("."))
        held = [p for group in setup.optimizer.param_groups for p in group["params"]]
        setup.optimizer = torch.optim.AdamW(held, lr=rate)


def set_or_exchange(setup: Setup, finding: Finding) -> None:
    """Do what the remedy of a low rate says: another optimiser, or another rate."""
    set_rate(setup, finding)
    use_adamw(setup, finding)


def fit_activation_to_loss(setup: Setup, finding: Finding) -> None:
    """Remove the last activation; cross-entropy or log_softmax where the loss met classes."""
    if isinstance(setup.loss, nn.KLDivLoss):
        setup.model = nn.Sequential(setup.model, nn.LogSoftmax(dim=1))
        rebuild(setup)
    elif isinstance(setup.loss, nn.MSELoss | nn.L1Loss) and setup.case.y.shape[-1] > 1:
        y, yv = (t.argmax(dim=1) for t in (setup.case.y, setup.case.yv))
        setup.loss, setup.case = nn.CrossEntropyLoss(), replace(setup.case, y=y, yv=yv)
    else:
        inner, *rest = setup.model.children()
        if len(rest) != 1 or any(True for _ in rest[0].parameters()):
            raise ValueError("no activation follows the whole model")
        setup.model = inner
        rebuild(setup)


def exchange_hidden(module: nn.Module, old: Any, make: Callable[[], nn.Module]) -> None:
    """Replace activations of these classes, wherever they are; one behind the last layer stays."""
    # _modules, as named_children leaves out a module that is used a second time.
    children = list(module._modules.items())
    for place, (name, child) in enumerate(children):
        if isinstance(child, old) and place < len(children) - 1:
            setattr(module, name, make())
        elif child is not None:
            exchange_hidden(child, old, make)


def use_relu(setup: Setup, finding: Finding) -> None:
    """Use ReLU; in a deep network with batch norm before it, where the remedy says so."""
    old = nn.Sigmoid | nn.Tanh | nn.Softmax
    if "normalisation layer before" in finding.remedy and isinstance(setup.model, nn.Sequential):
        parts = list(setup.model.children())
        linear = [m for m in parts if isinstance(m, nn.Linear)]
        if len(linear) > DEEP:
            setup.model = nn.Sequential(*(
                p for m in parts for p in
                ((m, nn.BatchNorm1d(m.out_features)) if m in linear[:-1] else (m,))
            ))  # fmt: skip
    exchange_hidden(setup.model, old, nn.ReLU)
    rebuild(setup)


def use_relu_as_he(setup: Setup, finding: Finding) -> None:
    """Use ReLU and He's initialisation in all but the last layer."""
    exchange_hidden(setup.model, nn.Sigmoid | nn.Tanh | nn.Softmax, nn.ReLU)
    layers = [m for m in setup.model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for layer in layers[:-1]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def take_layers_out(setup: Setup, finding: Finding) -> None:
    """Keep the first two hidden layers and the last one of a deep chain of layers of one width."""
    parts = list(setup.model.children())
    linear = [i for i, m in enumerate(parts) if isinstance(m, nn.Linear)]
    if not isinstance(setup.model, nn.Sequential) or len(linear) <= DEEP:
        return
    setup.model = nn.Sequential(*parts[: linear[2]], *parts[linear[-1] :])
    rebuild(setup)


def use_leaky_relu(setup: Setup, finding: Finding) -> None:
    exchange_hidden(setup.model, nn.ReLU, nn.LeakyReLU)


def add_activations(setup: Setup, finding: Finding) -> None:
    parts: list[nn.Module] = []
    for module in setup.model.children():
        if parts and isinstance(module, nn.Linear) and isinstance(parts[-1], nn.Linear):
            parts.append(nn.ReLU())
        parts.append(module)
    setup.model = nn.Sequential(*parts)
    rebuild(setup)


def initialize(setup: Setup, finding: Finding) -> None:
    for module in setup.model.modules():
        reset: Any = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
        if reset is not None:
            reset()
    place: Any = getattr(setup.model, "place", None)
    if place is not None:
        nn.init.normal_(place, std=0.02)


def add_biases(setup: Setup, finding: Finding) -> None:
    for module in setup.model.modules():
        if isinstance(module, nn.Linear) and module.bias is None:
            module.bias = nn.Parameter(torch.zeros(module.out_features))
    mean = finding.numbers.get("target_mean")
    if mean is not None:
        layers = [m for m in setup.model.modules() if isinstance(m, nn.Linear)]
        nn.init.constant_(layers[-1].bias, float(mean))
    rebuild(setup)


def lower_penalty(setup: Setup, finding: Finding) -> None:
    """Divide the penalty's factor by what the finding names."""
    setup.loss.factor /= float(finding.numbers["divisor"] or 1)


def larger_batches(setup: Setup, finding: Finding) -> None:
    setup.case = replace(setup.case, batch=32, epochs=15)


def shuffle(setup: Setup, finding: Finding) -> None:
    setup.shuffle = True


def call_train(setup: Setup, finding: Finding) -> None:
    setup.train_mode = True


def call_eval(setup: Setup, finding: Finding) -> None:
    setup.eval_mode = True


def step_scheduler(setup: Setup, finding: Finding) -> None:
    """Step as often as the settings count: a one-cycle schedule per batch, StepLR per epoch."""
    setup.per_batch = isinstance(setup.scheduler, torch.optim.lr_scheduler.OneCycleLR)
    if setup.per_batch:  # the fault's count leaves out the incomplete batches
        steps = setup.case.epochs * -(-len(setup.case.x) // setup.case.batch)
        rate = setup.optimizer.param_groups[0]["max_lr"]
        setup.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            setup.optimizer, rate, total_steps=steps
        )


def weaken_dropout(setup: Setup, finding: Finding) -> None:
    for module in setup.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = min(module.p, 0.3)


def weaken_decay(setup: Setup, finding: Finding) -> None:
    for group in setup.optimizer.param_groups:
        usual = 1e-2 if isinstance(setup.optimizer, torch.optim.AdamW) else 1e-3
        group["weight_decay"] = min(group["weight_decay"], usual)


def normalize(setup: Setup, finding: Finding) -> None:
    case = setup.case
    mean, std = case.x.mean(), case.x.std()
    setup.case = replace(case, x=(case.x - mean) / std, xv=(case.xv - mean) / std)


def normalize_alike(setup: Setup, finding: Finding) -> None:
    """Leave out the transformation that only validation has."""
    assert setup.sound is not None
    setup.case = replace(setup.case, xv=setup.sound.xv)


def remove_duplicates(setup: Setup, finding: Finding) -> None:
    case = setup.case
    held = {row.numpy().tobytes() for row in case.xv}
    kept = torch.tensor([row.numpy().tobytes() not in held for row in case.x])
    setup.case = replace(case, x=case.x[kept], y=case.y[kept])


def shift_labels(setup: Setup, finding: Finding) -> None:
    """Undo the offset that the finding measured."""
    offset, case = int(finding.numbers.get("offset") or 0), setup.case
    classes = 1 + int(case.y.max())
    setup.case = replace(case, yv=(case.yv - offset) % classes)


REPAIRS: dict[str, Callable[[Setup, Finding], None]] = {
    "learning-rate-too-high": set_rate,
    "learning-rate-too-low": set_or_exchange,
    "diverged": set_rate_and_clip,
    "exploding-gradients": clip,
    "gradients-accumulate": clear_gradients,
    "parameters-not-optimized": train_all,
    "optimizer-not-stepped": train_all,
    "frozen-parameters": train_all,
    "loss-activation-mismatch": fit_activation_to_loss,
    "vanishing-gradients": use_relu,
    "hidden-softmax": use_relu,
    "shuffled-labels": join_labels,
    "class-imbalance": map_labels,
    "label-noise": one_label_each,
    "saturated-activations": use_relu,
    "dead-units": use_leaky_relu,
    "no-nonlinearity": add_activations,
    "poor-initialization": initialize,
    "missing-bias": add_biases,
    "penalty-too-strong": lower_penalty,
    "stochastic-evaluation": drop_in_training,
    "target-leakage": remove_target,
    "batch-norm-small-batch": larger_batches,
    "batch-size-of-one": larger_batches,
    "data-not-shuffled": shuffle,
    "trained-in-eval-mode": call_train,
    "evaluated-in-train-mode": call_eval,
    "learning-rate-vanishes": step_scheduler,
    "scheduler-steps": step_scheduler,
    "dropout-too-strong": weaken_dropout,
    "weight-decay-too-strong": weaken_decay,
    "weight-decay-on-norms": weaken_decay,
    "invalid-inputs": normalize,
    "preprocessing-differs": normalize_alike,
    "domain-shift": normalize_alike,
    "data-leakage": remove_duplicates,
    "label-encoding": shift_labels,
}
"""Finding → what its remedy asks for. `join_labels` and `map_labels` take the right labels, which a
user has in the source, where the finding says what is wrong with them: see `FROM_SOURCE`."""
FROM_SOURCE = (join_labels, map_labels)
