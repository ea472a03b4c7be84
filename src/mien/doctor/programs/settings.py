"""What the criterion and the optimisers were set to, beside what the training's data and steps are.

Read for the report alone: nothing here costs time in a step.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mien.doctor.programs.inspection import held_by, instances_of, is_lazy, root_mean_square
from mien.doctor.programs.measurements import ClassWeight, Settings
from mien.doctor.programs.trees import tensors

if TYPE_CHECKING:
    from mien.doctor.programs.recording import Recording

MIN_MEASURED = 3
"""Measured steps from which an optimiser that was not seen in any counts as unused."""
EARLY_PART = 4
"""The first measured steps, one in EARLY_PART: later, decay has shrunk the weights already."""


def settings_of(watch: Recording) -> Settings:
    """Return the settings of a watched loop."""
    final = {n: root_mean_square(p) for n, p in watch.bare.named_parameters() if not is_lazy(p)}
    trainable = {n for n, p in watch.bare.named_parameters() if p.requires_grad}
    changed = {n for n in trainable & set(watch.initial) if final.get(n) != watch.initial[n]}
    ratios = [final[n] / watch.initial[n] for n in watch.layer_names if watch.initial.get(n, 0) > 0]
    stepped = watch.optimizer_steps > 0
    return Settings(
        reduction=str(criterion_setting(watch.criterion, "reduction") or ""),
        smoothing=float(criterion_setting(watch.criterion, "label_smoothing") or 0.0),
        weights=_weights(watch),
        targets_per_step=_targets_per_step(watch),
        momentum=max((_momentum(g) for o in watch.optimizers for g in o.param_groups), default=0.0),
        is_plain_sgd=bool(watch.optimizers)
        and all(isinstance(o, torch.optim.SGD) for o in watch.optimizers),
        decay_ratio=_decay_ratio(watch),
        shrinkage=float(np.median(ratios)) if ratios else 1.0,
        unused_optimizers=_unused(watch, changed) if stepped else (),
        weights_changed=bool(changed),
        other_optimizers=() if stepped else _others(watch),
        penalty=watch.penalty.result(),
    )


def criterion_setting(criterion: Any, name: str) -> Any:
    """Return a criterion's attribute, or the argument that functools.partial gives it."""
    if isinstance(criterion, functools.partial):
        return criterion.keywords.get(name)
    return getattr(criterion, name, None)


def _momentum(group: dict[str, Any]) -> float:
    betas = group.get("betas")
    first = betas[0] if isinstance(betas, list | tuple) and betas else 0.0
    return max(float(group.get("momentum") or 0.0), float(first))


def _targets_per_step(watch: Recording) -> int:
    sizes = [sum(t.numel() for t in tensors(batch)) for batch in watch.train.targets]
    return int(np.median(sizes)) if sizes else 0


def _labels(watch: Recording) -> Tensor | None:
    """Return the kept training labels: whole numbers, flattened."""
    first = [next(tensors(batch), None) for batch in watch.train.targets]
    known = [t.detach().reshape(-1).cpu() for t in first if t is not None]
    if not known or len(known) < len(first):
        return None
    labels = torch.cat([t.double() for t in known])
    whole = bool(torch.isfinite(labels).all()) and bool((labels == labels.round()).all())
    return labels.long() if whole else None


def _weights(watch: Recording) -> tuple[ClassWeight, ...]:
    """Return the classes that the criterion weights, with the labels in training."""
    weight, positive = (criterion_setting(watch.criterion, n) for n in ("weight", "pos_weight"))
    labels = None
    if isinstance(weight, Tensor) or isinstance(positive, Tensor):
        labels = _labels(watch)
    if labels is None:
        return ()
    if isinstance(positive, Tensor):
        if positive.numel() != 1 or not bool(((labels == 0) | (labels == 1)).all()):
            return ()
        names, values = ["negative", "positive"], [1.0, float(positive.detach().reshape(-1)[0])]
    else:
        values = weight.detach().double().reshape(-1).cpu().tolist()
        known = watch.classes if watch.classes and len(watch.classes) == len(values) else None
        names = list(known or (f"class {i}" for i in range(len(values))))
    # Labels outside the classes, such as an ignored -100, have no weight.
    labels = labels[(labels >= 0) & (labels < len(values))]
    counts = torch.bincount(labels, minlength=len(values)).tolist()
    return tuple(
        ClassWeight(n, int(c), v, index)
        for index, (n, c, v) in enumerate(zip(names, counts, values, strict=True))
        if c > 0 and v > 0
    )


def _decay_ratio(watch: Recording) -> float | None:
    decays = {
        id(p): float(group.get("weight_decay") or 0.0)
        for o in watch.optimizers
        for group in o.param_groups
        for p in group["params"]
        if _adds_decay(o, group)
    }
    named = {n: decays.get(id(p), 0.0) for n, p in watch.bare.named_parameters()}
    rows = watch.rows[: max(MIN_MEASURED, len(watch.rows) // EARLY_PART)]
    ratios = [
        named[name] * weight / gradient
        for row in rows
        for name, (gradient, weight, _) in row.layers.items()
        if named.get(name, 0.0) > 0 and gradient > 0
    ]
    return float(np.median(ratios)) if ratios else None


def _adds_decay(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> bool:
    """Return whether weight decay is added to the gradient, as an L2 penalty's gradient is."""
    if not type(optimizer).__module__.startswith("torch.optim"):
        return False
    decoupled = group.get("decoupled_weight_decay", False)
    return not decoupled and not isinstance(optimizer, torch.optim.AdamW)


def _unused(watch: Recording, changed: set[str]) -> tuple[str, ...]:
    """Return the optimisers that took no step in any measured step, and changed no weight."""
    if len(watch.optimizers) < 2 or len(watch.rows) < MIN_MEASURED:
        return ()
    names = {id(p): n for n, p in watch.bare.named_parameters()}
    found = []
    for place, optimizer in enumerate(watch.optimizers, start=1):
        held = [names[id(p)] for g in optimizer.param_groups for p in g["params"] if id(p) in names]
        # A rate of 0 keeps weights as they are on purpose.
        resting = all(float(g.get("lr") or 0.0) == 0 for g in optimizer.param_groups)
        if id(optimizer) in watch.stepped or not held or resting or changed & set(held):
            continue
        found.append(f"{type(optimizer).__name__} number {place} ({held[0]} to {held[-1]})")
    return tuple(found)


def _others(watch: Recording) -> tuple[str, ...]:
    """Return other optimisers of the model's parameters that are alive, and the steps they count.

    The interpreter's objects are searched, as nothing else knows of them.
    """
    own = {id(p) for p in watch.bare.parameters()}
    given = {id(o) for o in watch.optimizers}
    found = []
    for item in instances_of(torch.optim.Optimizer):
        if id(item) not in given and own & held_by(item):
            steps = [float(s["step"]) for s in item.state.values() if "step" in s]
            count = f", whose state counts {max(steps):,.0f} steps" if steps else ""
            found.append(f"{type(item).__name__}{count}")
    return tuple(found)
