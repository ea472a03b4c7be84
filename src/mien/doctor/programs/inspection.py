"""What the model's and the optimisers' structure shows, without a step."""

from __future__ import annotations

import gc
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import parameter as lazy
from torch.optim import lr_scheduler

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
DROPOUTS = (nn.modules.dropout._DropoutNd,)
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)
LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase, nn.MultiheadAttention, nn.Bilinear)
PLAIN = (nn.Linear, nn.modules.conv._ConvNd)
"""Weight layers that compute an affine function and nothing else."""
MAX_RUN_IN_STEPS = 0.5
MIN_NOISE, MAX_NOISE_ROWS = 200, 512
"""Values of an embedding from which their distribution is known; rows that are decomposed."""
MIN_MOMENTUM = 1e-3
"""Momentum below which a batch norm's statistics have moved by half after 700 steps at most."""


def bare(model: nn.Module) -> nn.Module:
    """Return the module inside torch.compile's and DataParallel's wrappers."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(
            model, nn.DataParallel | nn.parallel.DistributedDataParallel
        ):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def is_lazy(tensor: Any) -> bool:
    """Return whether a lazy module's parameter or buffer has no values yet."""
    return isinstance(tensor, lazy.UninitializedParameter | lazy.UninitializedBuffer)


def root_mean_square(parameter: torch.Tensor) -> float:
    """Return the root mean square of a parameter's values."""
    return float(parameter.detach().float().square().mean().sqrt())


def _is_plain(module: Any) -> bool:
    return isinstance(module, PLAIN) and not is_lazy(module.weight)


def layer_weights(model: nn.Module) -> set[str]:
    """Return the names of the weights whose gradients can be compared from layer to layer.

    Embeddings are left out: most of their rows have no gradient in a batch.
    """
    names = set()
    for name, module in model.named_modules():
        if isinstance(module, LAYERS):
            for own, parameter in module.named_parameters(recurse=False):
                if not is_lazy(parameter) and parameter.ndim > 1:
                    names.add(f"{name}.{own}" if name else own)
    return names


def unregistered(model: nn.Module) -> tuple[str, ...]:
    """Return attributes that hold modules or parameters where PyTorch does not find them."""
    registered = {id(m) for m in model.modules()} | {id(p) for p in model.parameters()}
    found = []
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            # PyTorch's own registries, such as _modules, start with an underscore.
            if key.startswith("_") or not isinstance(value, list | tuple | dict):
                continue
            items = value.values() if isinstance(value, dict) else value
            if any(_is_trainable(x) and id(x) not in registered for x in items):
                found.append(f"{name}.{key}" if name else key)
    return tuple(found)


def _is_trainable(value: Any) -> bool:
    if isinstance(value, nn.Module):
        return any(p.requires_grad for p in value.parameters())
    return isinstance(value, nn.Parameter)


def frozen_untrained(model: nn.Module) -> tuple[str, ...]:
    """Return untrainable weights that look like a random initialisation.

    Linear and convolution layers start uniform in ±1/sqrt(fan-in), embeddings normal, whose
    deviation loops often change; trained weights have neither distribution.
    """
    found = []
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, nn.Parameter) or weight.requires_grad or is_lazy(weight):
            continue
        if weight.numel() < 16:
            continue
        values = weight.detach().double().flatten()
        if isinstance(module, PLAIN):
            bound = 1 / math.sqrt(max(1, weight[0].numel()))
            # A uniform distribution's deviation is its bound over the root of 3.
            spread = float(values.std()) * math.sqrt(3) / bound
            if float(values.abs().max()) <= bound * (1 + 1e-6) and 0.9 < spread < 1.1:
                found.append(f"{name}.weight" if name else "weight")
        elif isinstance(module, nn.Embedding) and _is_normal_noise(weight.detach().double()):
            found.append(f"{name}.weight" if name else "weight")
    return tuple(found)


def _is_normal_noise(weight_nd: torch.Tensor) -> bool:
    """Return whether all entries are independent and of one normal distribution.

    The largest singular value of such a matrix is deviation times sqrt(n) + sqrt(d), rarely more
    (Marchenko and Pastur 1967); what is learnt has directions that are far longer.
    """
    weight_nd = weight_nd[(weight_nd != 0).any(dim=1)]  # without the row of the padding
    n, d = weight_nd.shape
    values = weight_nd.flatten()
    if len(values) <= MIN_NOISE:
        return False
    spread = float(values.std())
    # A normal distribution has a kurtosis of 3.
    kurtosis = float(((values - values.mean()) ** 4).mean() / max(spread**4, 1e-300))
    if spread == 0 or abs(float(values.mean())) > 0.1 * spread or not 2.6 < kurtosis < 3.4:
        return False
    rows = weight_nd[:MAX_NOISE_ROWS]
    edge = spread * (math.sqrt(min(n, MAX_NOISE_ROWS)) + math.sqrt(d))
    return float(torch.linalg.matrix_norm(rows, 2)) < 1.1 * edge


def weight_gains(model: nn.Module) -> dict[str, float]:
    """Return each layer's weight deviation times the root of its fan-in.

    It is 0.58 by PyTorch's default, 1.4 by He's initialisation, and about 1 keeps the size of
    activations (He et al. 2015, arXiv:1502.01852).
    """
    return {
        f"{name}.weight" if name else "weight": float(
            module.weight.detach().float().square().mean().sqrt()
        )
        * math.sqrt(module.weight[0].numel())
        for name, module in model.named_modules()
        if _is_plain(module) and module.weight[0].numel() >= 4 and len(module.weight) > 1
    }


def equal_rows(model: nn.Module) -> set[str]:
    """Return weights of two rows or more that are all equal: units that cannot become different."""
    return {
        f"{name}.weight" if name else "weight"
        for name, module in model.named_modules()
        if _is_plain(module)
        and len(module.weight) > 1
        and bool(
            torch.allclose(module.weight[1:], module.weight[:1].expand_as(module.weight[1:]),
                           rtol=1e-5, atol=1e-8)
        )
    }  # fmt: skip


def without_bias(model: nn.Module) -> tuple[str, ...]:
    """Return the weight layers, if none of them has a bias and no normalisation adds one."""
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, PLAIN)]
    if any(isinstance(m, NORMS) for m in model.modules()) or not layers:
        return ()
    # Recurrent and attention layers have biases of their own, such as bias_ih_l0.
    biased = any("bias" in name.rpartition(".")[2] for name, _ in model.named_parameters())
    return () if biased else tuple(n for n, _ in layers)


def narrowest(model: nn.Module) -> tuple[str, int] | None:
    """Return name and outputs of the weight layer with the fewest, the last one aside."""
    layers = [(n, len(m.weight)) for n, m in model.named_modules() if _is_plain(m)]
    return min(layers[:-1], key=lambda layer: layer[1], default=None)


def still_norms(model: nn.Module) -> dict[str, float]:
    """Return the momentum of batch norms that leaves their running statistics as they were."""
    return {
        name: float(module.momentum)
        for name, module in model.named_modules()
        # None is the mean over all batches.
        if isinstance(module, BATCH_NORMS)
        and module.momentum is not None
        and module.momentum < MIN_MOMENTUM
    }


def initial_norms(model: nn.Module) -> tuple[str, ...]:
    """Return batch norms with weights whose running statistics are still the initial ones."""
    return tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, BATCH_NORMS)
        and module.running_mean is not None
        and module.running_var is not None
        and not is_lazy(module.running_mean)
        and module.momentum != 0
        and module.affine
        and not bool(module.running_mean.any())
        and bool((module.running_var == 1).all())
    )


def held_by(*optimizers: torch.optim.Optimizer) -> set[int]:
    """Return the identities of the parameters that optimisers hold: == compares their values."""
    return {id(p) for o in optimizers for group in o.param_groups for p in group["params"]}


def schedulers_of(optimizers: Sequence[torch.optim.Optimizer]) -> list[Any]:
    """Return the live schedulers of these optimisers.

    PyTorch's optimiser does not know its scheduler, so the interpreter's objects are searched.
    """
    held = {id(optimizer) for optimizer in optimizers}
    kinds = (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)
    return [x for x in instances_of(*kinds) if id(getattr(x, "optimizer", None)) in held]


def instances_of(*kinds: type) -> list[Any]:
    """Return the interpreter's live objects of these types and of their subclasses."""
    # A set of types, since isinstance would ask lazy objects of other packages for their class, and
    # takes several times as long for hundreds of thousands of objects.
    types: set[type] = set()
    for kind in kinds:
        types |= _subclasses(kind)
    return [x for x in gc.get_objects() if type(x) in types]


def _subclasses(kind: type) -> set[type]:
    found = {kind}
    subclasses: list[type] = kind.__subclasses__()
    for each in subclasses:
        found |= _subclasses(each)
    return found


def scheduler_faults(schedulers: Iterable[Any], steps: int, epochs: int) -> tuple[str, ...]:
    """Return what is wrong with how often schedulers were stepped, one sentence each."""
    found = []
    for scheduler in schedulers:
        name, count = type(scheduler).__name__, int(getattr(scheduler, "last_epoch", 0))
        # OneCycleLR calls its plan total_steps, CosineAnnealingLR T_max.
        planned = getattr(scheduler, "total_steps", None) or getattr(scheduler, "T_max", None)
        milestones = sorted(getattr(scheduler, "milestones", None) or ())
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            if count <= 0 and epochs > 1:
                found.append(f"{name} was never stepped in {steps:,} steps")
        elif count <= 0 and steps > 1:
            found.append(f"{name} was never stepped in {steps:,} steps")
        # Warm restarts (T_0) go round by design.
        elif planned and count > 1.5 * planned and not hasattr(scheduler, "T_0"):
            found.append(f"{name} was planned for {planned:,} steps and stepped {count:,} times")
        elif planned and count < MAX_RUN_IN_STEPS * planned:
            found.append(
                f"{name} was planned for {planned:,} steps and stepped only {count:,} times in "
                f"{steps:,} training steps"
            )
        elif milestones and 3 < epochs <= milestones[-1] < 0.2 * count:
            found.append(
                f"{name} has its last milestone at {milestones[-1]:,}, about the {epochs:,} "
                f"epochs, and was stepped {count:,} times"
            )
    return tuple(found)
