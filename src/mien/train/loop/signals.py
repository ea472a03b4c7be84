"""Training signals for the doctor: losses, loss reductions, gradients, updates and activations.

The loss of every batch is recorded. One step in `stride` is measured: the batch's loss is computed
again after the step, with the same dropout. The step's reduction ratio is the actual over the
predicted loss reduction; the prediction is first-order, gradient times step (Nocedal and Wright
2006, section 4.1). On a quadratic that ratio is 1 for a tiny step, 1/2 for the best one, 0 for one
that changes nothing and negative for one that overshoots. Measuring does not change the training:
random states and running statistics are restored.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.train.networks.align import ALIGNMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

STRIDE = 28
"""Steps from one measured step to the next; fewer in short trainings."""
MIN_STRIDE = 20
"""A measured step costs up to 1.5 steps, so that measuring costs at most 3%."""
MEASURED = 24
"""Steps that a short training measures, if MIN_STRIDE allows it."""
POINTS = 32
"""Number of values that an epoch's losses are condensed to."""
DIGEST_STEP = 3
"""Step after which the weights' digest is taken, to check whether a training is repeatable."""

SATURATED = 0.97
"""Mean absolute output of a tanh unit from which on it counts as saturated; its slope is 0.06."""
SAME_OUTPUT = 1e-6
"""Range of a unit's outputs over a batch up to which it counts as dead: rounding, no signal."""
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


@dataclass(frozen=True, slots=True)
class LayerSignals:
    """Signals of one weight tensor in one epoch: medians over the measured steps.

    Attributes:
        gradient: root mean square of its gradient's entries.
        weight: root mean square of its entries.
        update: norm of a step's update over the norm of the weights.
    """

    gradient: float
    weight: float
    update: float


@dataclass(frozen=True, slots=True)
class StartSignals:
    """Signals before the first step: effects of the network's design, not of the steps.

    Attributes:
        loss: loss of the first batch; None if not finite.
        gradient_norm: norm of its whole gradient; None if not finite.
        gradients: norm of each weight's gradient over that of the weight, by its name.
    """

    loss: float | None
    gradient_norm: float | None
    gradients: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EpochSignals:
    """Signals of one epoch, finished or aborted.

    Attributes:
        epoch: counted from 1.
        lr: maximum learning rate of the epoch.
        losses: training loss, means over up to POINTS consecutive segments.
        peaks: maximum loss in each segment.
        measured: number of measured steps.
        gain: reduction ratio over the measured steps, actual / predicted loss reduction; None if
            no step was measured, or no reduction was predicted.
        worse: fraction of the measured steps that increased their own batch's loss.
        gradient_norm: median norm of the whole gradient; None if no step was measured.
        layers: signals of each weight, by its name, in the network's order.
        stuck: fraction of each activation layer's units that are dead (the same output for every
            image of the batch) or saturated.
        digest: digest of the weights after step DIGEST_STEP; '' in later epochs.
        start: signals before the first step; None in later epochs.
    """

    epoch: int
    lr: float
    losses: tuple[float, ...]
    peaks: tuple[float, ...]
    measured: int
    gain: float | None
    worse: float | None
    gradient_norm: float | None
    layers: Mapping[str, LayerSignals] = field(default_factory=dict)
    stuck: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""
    start: StartSignals | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the signals as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EpochSignals:
        """Return the signals from `to_dict`'s values."""
        layers = {name: LayerSignals(**layer) for name, layer in values["layers"].items()}
        curves = {key: tuple(values[key]) for key in ("losses", "peaks")}
        start = values.get("start")
        before = StartSignals(**start) if start else None
        return cls(**{**values, **curves, "layers": layers, "start": before})


def stride_for(steps: int) -> int:
    """Return the number of steps from one measured step to the next in a training of `steps`."""
    return min(STRIDE, max(MIN_STRIDE, steps // MEASURED))


class Recorder:
    """Collects one epoch's signals.

    Call `prepare` before a step's forward pass; if it returns True, `step_and_measure` takes it.

    Args:
        epoch: number of the epoch, counted from 1.
        stride: steps from one measured step to the next.
    """

    def __init__(self, epoch: int, stride: int) -> None:
        self.epoch, self.stride = epoch, stride
        self.lr = 0.0
        self.losses: list[float] = []
        self.changes: list[tuple[float, float]] = []
        self.rows: list[dict[str, LayerSignals]] = []
        self.norms: list[float] = []
        self.stuck: list[dict[str, float]] = []
        self.random: Tensor | None = None
        self.random_cuda: Tensor | None = None
        self.digest = ""
        self.start: StartSignals | None = None

    def prepare(self, step: int, device: torch.device) -> bool:
        """Return whether to measure `step`, counted from 0 over the whole training."""
        due = step % self.stride == self.stride // 2
        if due:  # for the same dropout when the loss is computed again
            self.random = torch.get_rng_state()
            self.random_cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return due

    def step_and_measure(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_again: Callable[[], Tensor],
        loss: float,
    ) -> None:
        """Take the optimizer's step and measure its effect.

        Args:
            model: network with gradients.
            optimizer: of the network's parameters.
            loss_again: computes the batch's loss again.
            loss: the batch's loss before the step.
        """
        named = [(n, p) for n, p in model.named_parameters() if p.grad is not None]
        parameters = [p for _, p in named]
        # Copies, so that the prediction is right whatever the optimizer does with them.
        gradients = [p.grad.detach().clone() for p in parameters if p.grad is not None]
        with torch.no_grad():
            before = [p.detach().clone() for p in parameters]
        optimizer.step()
        with torch.no_grad():
            steps = torch._foreach_sub([p.detach() for p in parameters], before)
            # First order: the gradient times the step.
            predicted = sum(float((g * s).sum()) for g, s in zip(gradients, steps, strict=True))
            lengths = [torch._foreach_norm(x) for x in (gradients, before, steps)]
        self._layers(named, [[float(v) for v in norms] for norms in lengths])
        self.changes.append((self._loss_after(model, loss_again) - loss, predicted))

    def _layers(self, named: list[tuple[str, nn.Parameter]], lengths: list[list[float]]) -> None:
        rows = {}
        for (name, p), gradient, weight, step in zip(named, *lengths, strict=True):
            if p.ndim > 1:
                # Root mean squares, which layers of different size can be compared by.
                root = p.numel() ** 0.5
                rows[name] = LayerSignals(gradient / root, weight / root, step / max(weight, 1e-12))
        self.rows.append(rows)
        self.norms.append(float(np.sqrt(sum(g * g for g in lengths[0]))))

    def _loss_after(self, model: nn.Module, loss_again: Callable[[], Tensor]) -> float:
        """Return the batch's loss after the step, with the dropout it had before."""
        # The extra forward pass moves the running statistics, which must not change the training.
        buffers = [(b, b.detach().clone()) for b in model.buffers()]
        found: dict[str, float] = {}
        hooks = [
            module.register_forward_hook(_stuck_hook(name, found))
            for name, module in model.named_modules()
            # The alignment is frozen: its activations say nothing about this training.
            if isinstance(module, ACTIVATIONS) and not name.startswith(ALIGNMENT)
        ]
        devices = [] if self.random_cuda is None else [torch.cuda.current_device()]
        try:
            with torch.random.fork_rng(devices=devices), torch.no_grad():
                if self.random is not None:
                    torch.set_rng_state(self.random)
                if self.random_cuda is not None:
                    torch.cuda.set_rng_state(self.random_cuda)
                after = float(loss_again())
        finally:
            for hook in hooks:
                hook.remove()
            for buffer, value in buffers:
                buffer.copy_(value)
        self.stuck.append(found)
        return after

    @torch.no_grad()
    def take_start(self, model: nn.Module, loss: float) -> None:
        """Store loss and gradients before the first step."""
        named = [(n, p, p.grad) for n, p in model.named_parameters() if p.grad is not None]
        norm = float(torch.stack([g.norm() for _, _, g in named]).norm())
        ratios = {
            n: _number(float(g.norm() / p.norm().clamp_min(1e-12)))
            for n, p, g in named
            if p.ndim > 1
        }
        known = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        self.start = StartSignals(_number(loss), _number(norm), known)

    def take_digest(self, model: nn.Module) -> None:
        """Store a digest of the current weights."""
        self.digest = weights_digest(model)

    def signals(self) -> EpochSignals:
        """Return the signals collected so far."""
        losses, peaks = condense(self.losses)
        # A loss that overflowed would hide what the other steps show.
        finite = [(d, p) for d, p in self.changes if np.isfinite(d) and np.isfinite(p)]
        predicted = sum(p for _, p in finite)
        return EpochSignals(
            epoch=self.epoch,
            lr=self.lr,
            losses=losses,
            peaks=peaks,
            measured=len(self.changes),
            gain=_number(sum(d for d, _ in finite) / predicted) if predicted < 0 else None,
            worse=_number(np.mean([not d <= 0 for d, _ in self.changes])) if self.changes else None,
            gradient_norm=_number(np.median(self.norms)) if self.norms else None,
            layers=dict(self._medians()),
            stuck={
                name: round(float(np.median([row.get(name, 0.0) for row in self.stuck])), 4)
                for name in (self.stuck[0] if self.stuck else {})
            },
            digest=self.digest,
            start=self.start,
        )

    def _medians(self) -> Iterator[tuple[str, LayerSignals]]:
        for name in self.rows[0] if self.rows else {}:
            values = np.array(
                [(r[name].gradient, r[name].weight, r[name].update) for r in self.rows]
            )
            middle = [_number(v) for v in np.median(values, axis=0)]
            if None not in middle:
                yield name, LayerSignals(*(v for v in middle if v is not None))


def condense(losses: list[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return means and maxima over up to POINTS consecutive segments of the finite losses."""
    finite = np.array([v for v in losses if np.isfinite(v)])
    if not len(finite):
        return (), ()
    parts = np.array_split(finite, min(POINTS, len(finite)))
    return (
        tuple(round(float(p.mean()), 5) for p in parts),
        tuple(round(float(p.max()), 5) for p in parts),
    )


def weights_digest(model: nn.Module) -> str:
    """Return 16 hexadecimal digits over every parameter's bytes."""
    digest = hashlib.sha256()
    for parameter in model.parameters():
        # Without buffers: counters of batches say nothing about the weights.
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _stuck_hook(name: str, found: dict[str, float]) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if isinstance(module, nn.Tanh | nn.Sigmoid):
            # A sigmoid is a tanh of half the input, from 0 to 1: one threshold serves both.
            centred = output if isinstance(module, nn.Tanh) else 2 * output - 1
            flat = centred.flatten(2) if output.ndim > 2 else centred[:, :, None]
            stuck = flat.abs().mean(dim=2).mean(dim=0) > SATURATED
        else:
            low, high = _extremes(output)
            stuck = high - low <= SAME_OUTPUT
        fraction = round(float(stuck.float().mean()), 4)
        # A module may be called several times in one pass; the worst call counts.
        found[name] = max(fraction, found.get(name, 0.0))

    return hook


def _extremes(output: Tensor) -> tuple[Tensor, Tensor]:
    """Return each unit's minimum and maximum, [units], of outputs [n, units, ...].

    Reduces over the images first, in the memory order of channels-last convolutions: another order
    takes ten times as long, as much as the layer itself.
    """
    units = output.shape[1]
    rows = output.movedim(1, -1).flatten(1)
    low, high = rows.amin(0).reshape(-1, units), rows.amax(0).reshape(-1, units)
    return low.amin(0), high.amax(0)


def _number(value: Any) -> float | None:
    """Return a finite float of six digits, or None."""
    return float(f"{float(value):.6g}") if np.isfinite(value) else None
