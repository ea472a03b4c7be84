"""What doctors suggest in words, translated into settings of the programs of bench/doctor_cases.py.

`PATTERNS` translates a sentence into settings, as NAMES of bench/doctor_peers.py translates names;
`settings_of` applies it. The translation is generous: a sentence that asks to check something
('make sure that those parameters are in the optimizer') counts as the setting that a user would
find, a rate without a number is changed by 10, 100 and 1,000, as AutoTrainer does itself, and a
batch and the epochs are doubled up to three times, the epochs a fourth time where a sentence says
to train until the validation loss stops falling. Sentences about code that no setting stands for
(residual connections, spectral norm) and about hardware are not translated; 'audit the labels'
leaves out the examples that a cross-validated model contradicts, and 'confident learning' corrects
them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

import doctor_repairs as remedies
from doctor_cases import Case, Setup
from doctor_data_settings import (
    correct_contradicted,
    drop_contradicted,
    drop_in_training,
    remove_target,
    sample_classes,
    weight_classes,
)
from doctor_deepcrime import Exponential

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.doctor import Finding

LOWER = ("rate / 10", "rate / 100", "rate / 1000")
RAISE = ("rate * 10", "rate * 100", "rate * 1000")
BATCH = ("batch * 2", "batch * 4", "batch * 8")
LONGER = ("epochs * 2", "epochs * 4", "epochs * 8")
ACTIVATION = ("relu", "leaky relu", "selu", "tanh")
HIDDEN = (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Softmax, Exponential)
KEPT = r"^(?!reduce regularization|.*exclude norms)"
"""Not of a sentence that asks for less regularisation."""

# Pattern of a sentence, in any case, and the settings that it stands for.
PATTERNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"(reduc\w+|reduce|lower) (the )?(peak )?(learning rate|lr)\b|range test", LOWER),
    (
        r"(increas\w+|raise|higher) (the )?(learning rate|peak)|rate is not too low|range test",
        RAISE,
    ),
    (r"using '0\.\d+' learning rate", LOWER),
    (r"using '10+' learning rate", RAISE),
    (r"learning_rate=0\.001", ("rate 0.001", "adam")),
    (r"^learning rate$", (*LOWER, *RAISE)),
    (r"clip", ("clip",)),
    (r"warm-?up", ("warmup",)),
    (r"decaying schedule|ReduceLROnPlateau|cosine", ("cosine",)),
    (r"check the scheduler", ("scheduler",)),
    (r"leave the scheduler out", ("no scheduler",)),
    (r"batch ?norm|layer ?norm|normali[sz]ation layer", ("batch norm",)),
    (r"leaky|change the activation|dead (relu|activations)|(to|with) (relu|gelu)", ("leaky relu",)),
    (r"(to|with|use) relu|'relu'|nn\.ReLU|change (the|sigmoid) activation", ("relu",)),
    (r"kaiming|he_uniform", ("relu, He's weights",)),
    (r"fewer layers", ("fewer layers",)),
    (r"'selu'|change the activation", ("selu",)),
    (r"'tanh'|change the activation", ("tanh",)),
    (r"initiali[sz](?!ed)|uninitialized|poor weight", ("initialise",)),
    (KEPT + r".*dropout", ("dropout",)),
    (KEPT + r".*(weight decay|\bL2\b|regularization)", ("weight decay",)),
    (
        r"^reduce regularization|exclude norms|regularise less|penalty|probability of 0",
        ("no weight decay", "less dropout", "no dropout", "no penalty"),
    ),
    (
        r"audit labels|data quality|filter them|look at .*(labels|contradict)|check its labels",
        ("no contradicted labels",),
    ),
    (r"confident learning|cleanlab", ("confident learning",)),
    (
        r"class balance|weight the loss|Loss\(weight|WeightedRandomSampler|classes equally",
        ("class weights", "balanced sampling"),
    ),
    (r"self\.training", ("dropout in training",)),
    (r"early ?stopping|stop earlier|stop at the lowest|checkpoint", ("early stopping",)),
    (r"reduc\w* (model|the power)|reducing the power|smaller model", ("half width",)),
    (
        r"increase model capacity|is sufficient|layer width|(larger|wider) (or deeper )?network",
        ("double width",),
    ),
    (r"train longer|more epochs", LONGER),
    (r"until the validation loss stops", ("epochs * 16",)),
    (r"increase (the )?(effective )?batch|batch_size|gradient accumulation", BATCH),
    (r"normalize (the )?(inputs?|data)", ("normalise inputs",)),
    (r"adaptive optimizer|different optimizer|change optimizer|'adam'", ("adam",)),
    (r"momentum|change optimizer", ("sgd",)),
    (r"lower beta2", ("beta2",)),
    (r"label.smoothing", ("label smoothing",)),
    (r"shuffle", ("shuffle",)),
    (r"zero_grad|accumulation is working", ("clear gradients",)),
    (r"smaller batch|batch_size=32", ("batch 32",)),
    (r"Adam may need 0\.003", ("all parameters at 0.003",)),
    (r"in the optimizer|frozen|actually connected", ("train all parameters",)),
    (
        r"leakage|duplicates|overlap|properly separated|held-out|splitting",
        ("no duplicates", "no target column"),
    ),
    (r"preprocessing|preparing data", ("same preprocessing",)),
    (r"last layer|to softmax|stable ops", ("loss fits output",)),
    (r"missing activation|`activation` argument is passed", ("activations between",)),
)


def scale_rate(factor: float) -> Callable[[Setup], None]:
    def change(s: Setup) -> None:
        for group in s.optimizer.param_groups:
            for key in {"lr", "initial_lr", "max_lr", "min_lr"} & set(group):  # of a scheduler
                group[key] *= factor
        if s.scheduler is not None:
            s.scheduler.base_lrs = [r * factor for r in s.scheduler.base_lrs]

    return change


def set_rate(s: Setup) -> None:
    for group in s.optimizer.param_groups:
        group["lr"] = 0.001


def warm_up(s: Setup) -> None:
    steps = max(2, s.case.epochs * len(s.case.x) // s.case.batch // 20)
    s.scheduler = torch.optim.lr_scheduler.LinearLR(s.optimizer, 0.01, total_iters=steps)
    s.per_batch = True


def anneal(s: Setup) -> None:
    s.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(s.optimizer, s.case.epochs)
    s.per_batch = False


def normalise_layers(s: Setup) -> None:
    """Add batch norm after each hidden linear or convolutional layer of a chain."""
    added: list[nn.Module] = []

    def visit(module: nn.Module) -> nn.Module:
        if not isinstance(module, nn.Sequential):
            for name, child in module.named_children():
                setattr(module, name, visit(child))
            return module
        parts = [visit(m) for m in module]
        last = max((i for i, m in enumerate(parts) if isinstance(m, nn.Linear)), default=-1)
        found: list[nn.Module] = []
        for i, part in enumerate(parts):
            found.append(part)
            norm: nn.Module | None = None
            if isinstance(part, nn.Linear) and i < last:
                norm = nn.BatchNorm1d(part.out_features)
            if isinstance(part, nn.Conv2d) and not isinstance(parts[i + 1], nn.BatchNorm2d):
                norm = nn.BatchNorm2d(part.out_channels)
            if norm is not None:
                found.append(norm)
                added.append(norm)
        return nn.Sequential(*found)

    s.model = visit(s.model)
    if added:  # the rest of the optimiser stays, with what a fault did to it
        new = [p for m in added for p in m.parameters()]
        s.optimizer.add_param_group({**s.optimizer.param_groups[0], "params": new})


def activate(make: Callable[[], nn.Module]) -> Callable[[Setup], None]:
    """Replace each hidden activation; one behind the last layer stays."""

    def change(s: Setup) -> None:
        remedies.exchange_hidden(s.model, HIDDEN, make)

    return change


def drop_out(s: Setup) -> None:
    for module in s.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = max(module.p, 0.5)


def decay(value: float) -> Callable[[Setup], None]:
    def change(s: Setup) -> None:
        for group in s.optimizer.param_groups:
            group["weight_decay"] = value

    return change


def enlarge_batch(factor: int) -> Callable[[Setup], None]:
    def change(s: Setup) -> None:
        if s.case.batch == 1:  # the fault shortened the training as well
            s.case = replace(s.case, batch=4 * factor, epochs=15)
        else:
            s.case = replace(s.case, batch=min(len(s.case.x), s.case.batch * factor))

    return change


def use_batch_32(s: Setup) -> None:
    if s.case.batch == 1:
        remedies.larger_batches(s, None)  # type: ignore[arg-type]
    else:
        s.case = replace(s.case, batch=32)


def remove_dropout(s: Setup) -> None:
    for module in s.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def train_longer(factor: int) -> Callable[[Setup], None]:
    def change(s: Setup) -> None:
        s.case = replace(s.case, epochs=s.case.epochs * factor)

    return change


def remove_penalty(s: Setup) -> None:
    if hasattr(s.loss, "factor"):
        s.loss.factor = 0.0


def optimised(s: Setup) -> list[torch.Tensor]:
    """Return what the optimiser has, which a fault may have chosen."""
    return [p for group in s.optimizer.param_groups for p in group["params"]]


def use_adam(s: Setup) -> None:
    s.optimizer = torch.optim.Adam(optimised(s), lr=1e-3)


def use_sgd(s: Setup) -> None:
    s.optimizer = torch.optim.SGD(optimised(s), lr=0.02, momentum=0.9)


def train_all_faster(s: Setup) -> None:
    remedies.train_all(s, None)
    for group in s.optimizer.param_groups:
        group["lr"] = 0.003


def leave_scheduler_out(s: Setup) -> None:
    s.scheduler = None


def lower_beta2(s: Setup) -> None:
    for group in s.optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (group["betas"][0], 0.95)


def smooth_labels(s: Setup) -> None:
    if isinstance(s.loss, nn.CrossEntropyLoss):
        s.loss = nn.CrossEntropyLoss(label_smoothing=0.1)


def fit_output(s: Setup) -> None:
    """Remove a last activation, or take cross-entropy; nothing where neither is wrong."""
    last = list(s.model.children())[-1]
    kinds = nn.MSELoss | nn.L1Loss | nn.KLDivLoss
    is_squared = isinstance(s.loss, kinds) and s.case.y.ndim == 2 and s.case.y.shape[-1] > 1
    if is_squared or (isinstance(s.model, nn.Sequential) and isinstance(last, HIDDEN)):
        remedies.fit_activation_to_loss(s, None)  # type: ignore[arg-type]


def add_activations(s: Setup) -> None:
    if isinstance(s.model, nn.Sequential):
        remedies.add_activations(s, None)  # type: ignore[arg-type]


def as_mien(repair: Callable[[Setup, Finding], None]) -> Callable[[Setup], None]:
    """Return what bench/doctor_repairs.py does for mien's finding of the same meaning."""

    def change(s: Setup) -> None:
        repair(s, None)  # type: ignore[arg-type]  # these read nothing of the finding

    return change


SETTINGS: dict[str, Callable[[Setup], None]] = {
    **{f"rate / {f}": scale_rate(1 / f) for f in (10, 100, 1000)},
    **{f"rate * {f}": scale_rate(f) for f in (10, 100, 1000)},
    **{f"batch * {f}": enlarge_batch(f) for f in (2, 4, 8)},
    **{f"epochs * {f}": train_longer(f) for f in (2, 4, 8)},
    "epochs * 16": train_longer(16),
    "batch 32": use_batch_32,
    "rate 0.001": set_rate,
    "warmup": warm_up,
    "cosine": anneal,
    "batch norm": normalise_layers,
    "relu": activate(nn.ReLU),
    "leaky relu": activate(nn.LeakyReLU),
    "selu": activate(nn.SELU),
    "tanh": activate(nn.Tanh),
    "dropout": drop_out,
    "weight decay": decay(0.01),
    "no weight decay": decay(0.0),
    "adam": use_adam,
    "sgd": use_sgd,
    "beta2": lower_beta2,
    "label smoothing": smooth_labels,
    "relu, He's weights": as_mien(remedies.use_relu_as_he),
    "fewer layers": as_mien(remedies.take_layers_out),
    "no scheduler": leave_scheduler_out,
    "clip": as_mien(remedies.clip),
    "scheduler": as_mien(remedies.step_scheduler),
    "initialise": as_mien(remedies.initialize),
    "no penalty": remove_penalty,
    "no dropout": remove_dropout,
    "no contradicted labels": drop_contradicted,
    "confident learning": correct_contradicted,
    "class weights": weight_classes,
    "balanced sampling": sample_classes,
    "no target column": as_mien(remove_target),
    "dropout in training": as_mien(drop_in_training),
    "less dropout": as_mien(remedies.weaken_dropout),
    "normalise inputs": as_mien(remedies.normalize),
    "shuffle": as_mien(remedies.shuffle),
    "clear gradients": as_mien(remedies.clear_gradients),
    "all parameters at 0.003": train_all_faster,
    "train all parameters": as_mien(remedies.train_all),
    "no duplicates": as_mien(remedies.remove_duplicates),
    "same preprocessing": as_mien(remedies.normalize_alike),
    "loss fits output": fit_output,
    "activations between": add_activations,
}
WIDTHS = {"half width": 0.5, "double width": 2.0}
"""Settings that change the program before a fault is planted; only in multilayer perceptrons."""
BEST_EPOCH = "early stopping"


def widen(case: Case, factor: float) -> Case:
    """Return the case with hidden layers of another width; unchanged where it is no perceptron."""

    def make() -> nn.Module:
        model = case.model()
        layers = [m for m in model.children() if isinstance(m, nn.Linear)]
        if not isinstance(model, nn.Sequential) or len(layers) < 2:
            return model
        parts: list[nn.Module] = []
        for part in model:
            if isinstance(part, nn.Linear):
                a, b = part.in_features, part.out_features
                a = a if part is layers[0] else int(a * factor)
                part = nn.Linear(a, b if part is layers[-1] else int(b * factor))
            parts.append(part)
        return nn.Sequential(*parts)

    return replace(case, model=make)


def settings_of(sentences: list[str]) -> list[str]:
    """Return the settings that sentences stand for, each once, in the order of the sentences."""
    found = (name for text in sentences for pattern, names in PATTERNS
             if re.search(pattern, text, re.IGNORECASE) for name in names)  # fmt: skip
    return list(dict.fromkeys(found))
