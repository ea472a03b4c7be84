"""Rules of three published doctors, re-coded for PyTorch from their papers and their repositories.

- AutoTrainer (Zhang, Zhai, Ma and Shen, ICSE 2021, doi:10.1109/ICSE43902.2021.00043): five
  symptoms, from accuracies and from gradients of one batch, checked once an epoch.
- DeepDiagnosis (Wardat, Cruz, Le and Rajan, ICSE 2022, doi:10.1145/3510003.3510071): the first of
  eight symptoms ends the check, and a decision tree maps it to a repair.
- UMLAUT (Schoop, Huang and Hartmann, CHI 2021, doi:10.1145/3411764.3445538): heuristics about
  inputs, loss, last activation, learning rate and fitting.

All three were written for Keras, whose cross-entropy wants probabilities. PyTorch's takes logits:
'the last activation does not fit the loss' is translated accordingly. Thresholds are the authors'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from doctor_cases import Observer

WEIGHTED = (nn.Linear, nn.Conv2d)
SQUASHING = (nn.Sigmoid, nn.Tanh)
NONLINEAR = (nn.ReLU, nn.GELU, nn.TransformerEncoderLayer, *SQUASHING)
LAST = (nn.Softmax, nn.Sigmoid, nn.Tanh, nn.ReLU)


@dataclass
class Snapshot:
    """One batch in evaluation: outputs of leaf modules, and gradients and weights by name."""

    outputs: list[tuple[nn.Module, torch.Tensor, torch.Tensor]] = field(default_factory=list)
    gradients: list[torch.Tensor] = field(default_factory=list)
    weights: list[torch.Tensor] = field(default_factory=list)


class Published(Observer):
    """Measures what the rules need once an epoch, and keeps the names of what they find."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.train_loss: list[float] = []
        self.train_accuracy: list[float] = []
        self.validation_loss: list[float] = []
        self.validation_accuracy: list[float] = []
        self.first: tuple[torch.Tensor, torch.Tensor] | None = None
        self.low, self.high = math.inf, -math.inf
        self.losses: list[float] = []
        self.hits: list[float] = []

    def start(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Any) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.output: torch.Tensor | None = None

        def keep(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            self.output = output.detach()

        self.handle = model.register_forward_hook(keep)

    def step(self, loss: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
        if self.first is None:
            self.first = (x, y)
        if x.is_floating_point():
            self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        self.losses.append(float(loss.detach()))
        if self.output is not None and is_classes(y, self.output):
            self.hits.append(float((self.output.argmax(1) == labels(y)).float().mean()))

    def validate(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
        was = model.training
        model.eval()
        with torch.no_grad():
            out = model(x)
            self.validation_loss.append(float(self.loss(out, y)))
            if is_classes(y, out):
                self.validation_accuracy.append(float((out.argmax(1) == labels(y)).float().mean()))
        self.train_loss.append(sum(self.losses) / max(1, len(self.losses)))
        if self.hits:
            self.train_accuracy.append(sum(self.hits) / len(self.hits))
        self.losses, self.hits = [], []
        if self.first is not None:
            self.judge(self.snapshot(*self.first))
        model.train(was)

    def snapshot(self, x: torch.Tensor, y: torch.Tensor) -> Snapshot:
        """Return one batch's outputs and gradients; the training's gradients stay as they are."""
        found = Snapshot()
        handles = [
            m.register_forward_hook(
                lambda m, i, o: found.outputs.append((m, i[0].detach(), o.detach()))
            )
            for m in self.model.modules()
            if not any(True for _ in m.children())
        ]
        self.model.eval()
        value = self.loss(self.model(x), y)
        for handle in handles:
            handle.remove()
        layers = [m.weight for m in self.model.modules() if isinstance(m, WEIGHTED)]
        layers = [w for w in layers if w.requires_grad]
        if layers and value.requires_grad:
            grads = torch.autograd.grad(value, layers, allow_unused=True)
            # Layers that the loss does not reach have none.
            found.gradients = [g for g in grads if g is not None]  # type: ignore[redundant-expr]
        found.weights = [w.detach() for w in layers]
        return found

    def judge(self, found: Snapshot) -> None:
        """Add the names of what an epoch shows."""

    def end(self) -> None:
        self.handle.remove()

    def last_activation_misfits(self, found: Snapshot) -> bool:
        """Return whether a squashed output goes into a loss that takes logits."""
        last = found.outputs[-1][0] if found.outputs else None
        return isinstance(self.loss, nn.CrossEntropyLoss) and isinstance(last, LAST)


def is_classes(y: torch.Tensor, out: torch.Tensor) -> bool:
    return out.ndim == 2 and out.shape[1] > 1 and (y.ndim == 1 or y.shape == out.shape)


def labels(y: torch.Tensor) -> torch.Tensor:
    return y.argmax(1) if y.ndim == 2 else y


class AutoTrainer(Published):
    """Exploding and vanishing gradients, dying ReLU, oscillating loss, slow convergence."""

    def judge(self, found: Snapshot) -> None:
        broken = [t for t in (*found.gradients, *found.weights) if not bool(t.isfinite().all())]
        if broken or not math.isfinite(self.train_loss[-1]) or self.validation_loss[-1] >= 1e5:
            self.names.add("exploding gradient")
            return
        if len(found.gradients) < 2 or not self.train_accuracy or self.names:
            return
        norms = [float(g.norm()) for g in found.gradients]
        ratio = norms[0] / max(norms[-1], 1e-30)
        zeros = sum(int((g == 0).sum()) for g in found.gradients)
        total = sum(g.numel() for g in found.gradients)
        accuracies = (self.train_accuracy, self.validation_accuracy)
        slow = all(max_rise(a) < 0.01 for a in accuracies)
        if min(max(a) for a in accuracies) < 0.6 or slow:
            if zeros >= 0.7 * total:
                self.names.add("dying relu")
            elif ratio > 70:
                self.names.add("exploding gradient")
            elif ratio < 1e-3 and norms[0] < 1e-4:
                self.names.add("vanishing gradient")
            elif slow and len(self.train_accuracy) > 2:
                self.names.add("slow convergence")
        elif oscillates(self.train_accuracy):
            self.names.add("oscillating loss")


def max_rise(values: list[float]) -> float:
    return max((b - a for a, b in pairwise(values)), default=0.0)


def oscillates(values: list[float], size: float = 0.03, rate: float = 0.2) -> bool:
    """Return whether enough neighbouring maxima and minima differ by `size`."""
    inner = range(1, len(values) - 1)
    tops = [values[i] for i in inner if values[i] >= max(values[i - 1], values[i + 1])]
    bottoms = [values[i] for i in inner if values[i] <= min(values[i - 1], values[i + 1])]
    wide = sum(a - b >= size for a, b in zip(tops, bottoms, strict=False))
    return wide > 0 and wide >= rate * len(values)


class DeepDiagnosis(Published):
    """The first symptom, and the repair that the authors' decision tree derives from it."""

    def __init__(self) -> None:
        super().__init__()
        self.means: list[list[float]] = []

    def judge(self, found: Snapshot) -> None:
        if self.names:
            return
        means = [float(out.float().mean()) for _, _, out in found.outputs]
        self.means.append(means)
        epoch = len(self.train_loss)
        if epoch == 1 and self.last_activation_misfits(found):
            self.names.update({"out of range", "repair: last activation"})
        elif any(not math.isfinite(m) or m == 0 for m in means):
            self._symptom("numerical error", found, "repair: activation")
        elif any(self._is_saturated(*layer) for layer in found.outputs) and epoch % 5 == 0:
            self._symptom("saturated activation", found, "repair: activation")
        elif epoch % 5 == 0 and any(len({m[i] for m in self.means[-5:]}) == 1
                                    for i in range(len(means) - 1)):  # fmt: skip
            self._symptom("unchanged tensor", found, "repair: optimizer", inputs=False)
        elif not math.isfinite(self.train_loss[-1]) or self.train_accuracy[-1:] == [0.0]:
            self._symptom("invalid loss", found, "repair: activation")
        elif epoch % 5 == 0 and len(set(self.train_loss[-5:])) == 1:
            self._symptom("loss not decreasing", found, "repair: optimizer")
        elif any(float(g.abs().mean()) < 1e-7 for g in found.gradients):
            self._symptom("vanishing gradient", found, "repair: activation", inputs=False)
        elif any(isinstance(m, nn.ReLU) and float((out <= 0).float().mean()) >= 0.7
                 for m, _, out in found.outputs) and epoch >= 8:  # fmt: skip
            # The authors check it in the last epoch, which an observer does not know.
            self._symptom("dead node", found, "repair: activation")

    def _is_saturated(self, module: nn.Module, x: torch.Tensor, out: torch.Tensor) -> bool:
        return isinstance(module, SQUASHING) and float((x.abs() >= 5).float().mean()) > 0.5

    def _symptom(self, name: str, found: Snapshot, otherwise: str, *, inputs: bool = True) -> None:
        self.names.add(name)
        rates = [
            self.optimizer.param_groups[0]["lr"] * float(g.norm()) / max(float(w.norm()), 1e-30)
            for w, g in zip(found.weights, found.gradients, strict=False)
        ]
        variances = [float(w.float().var()) for w in found.weights if w.numel() > 1]
        if any(v < 1e-5 or v > 10 or not math.isfinite(v) for v in variances):
            self.names.add("repair: initial weights")
        elif inputs and (self.low < -1 or self.high > 1):
            self.names.add("repair: normalise the data")
        elif any(not 1e-5 <= r <= 1e-1 for r in rates):
            self.names.add("repair: learning rate")
        else:
            self.names.add(otherwise)


class Umlaut(Published):
    """Inputs, loss, last activation, learning rate and fitting."""

    def judge(self, found: Snapshot) -> None:
        if self.low < -1 or self.high > 1:
            self.names.add("input not normalised")
        if not math.isfinite(self.train_loss[-1]):
            self.names.add("nan in loss")
        if self.last_activation_misfits(found):
            self.names.add("last activation")
        if not any(isinstance(m, NONLINEAR) for m in self.model.modules()):
            self.names.add("no nonlinear activation")
        rate = self.optimizer.param_groups[0]["lr"]
        if rate > 0.01:
            self.names.add("learning rate high")
        elif rate < 1e-7:
            self.names.add("learning rate low")
        self._judge_fitting()

    def _judge_fitting(self) -> None:
        if len(self.train_loss) > 1:
            rises = self.validation_loss[-1] > self.validation_loss[-2]
            if rises and self.train_loss[-1] <= self.train_loss[-2]:
                self.names.add("overfitting")
        if self.train_accuracy and self.validation_accuracy:
            held = self.validation_accuracy[-1]
            if held > 0.95 or held > self.train_accuracy[-1]:
                self.names.add("high validation accuracy")


PUBLISHED: dict[str, type[Published]] = {
    "AutoTrainer's rules": AutoTrainer,
    "DeepDiagnosis's rules": DeepDiagnosis,
    "UMLAUT's rules": Umlaut,
}
