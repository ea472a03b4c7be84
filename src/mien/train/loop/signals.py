"""What a training tells of itself while it runs: losses, steps, gradients, activations.

The loss of every batch is kept anyway. One step in `stride` is measured more closely: the batch's
loss is computed again after the step, with the same dropout, and the step's gain ratio is the
change it made over the change that the gradient promised (Nocedal and Wright 2006, section 4.1).
On a quadratic that ratio is 1 for a tiny step, 1/2 for the best one, 0 for one that gains nothing
and negative for one that overshoots. Measuring changes nothing: random states and running
statistics are put back, so a measured training gives the weights of an unmeasured one.
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
SHORTEST = 20
"""Of strides: a measured step costs up to half of one more, and all of them at most 3%."""
MEASURED = 24
"""Steps that a short training measures, where SHORTEST allows it."""
POINTS = 32
"""Points that an epoch's losses are condensed to."""
DIGEST_STEP = 3
"""Step of the training after which the weights' digest is taken, to tell whether it repeats."""

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


@dataclass(frozen=True, slots=True)
class LayerSignals:
    """A weight tensor over one epoch: medians over the measured steps.

    Attributes:
        gradient: root mean square of its gradient's entries.
        weight: root mean square of its entries.
        update: length of a step over the length of the weights.
    """

    gradient: float
    weight: float
    update: float


@dataclass(frozen=True, slots=True)
class StartSignals:
    """A training before its first step: what the network's design does, not what steps did to it.

    Attributes:
        loss: of the first batch; None where it is not finite.
        gradient_norm: length of its whole gradient, likewise.
        gradients: each weight's gradient over its size, by the name of the weight.
    """

    loss: float | None
    gradient_norm: float | None
    gradients: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EpochSignals:
    """One epoch, finished or broken off.

    Attributes:
        epoch: counted from 1.
        lr: learning rate, the largest of the epoch.
        losses: training loss, means of up to POINTS successive stretches.
        peaks: largest loss within each stretch.
        measured: steps measured closely.
        gain: summed change of the batches' losses over the summed change promised; None where
            no step was measured or none was promised to gain.
        worse: share of measured steps after which their own batch's loss was larger.
        gradient_norm: median length of the whole gradient; None where not measured.
        layers: by the name of the weight, in the network's order.
        stuck: share of each activation layer's units that gave every image of the batch the
            same answer, or were saturated.
        digest: of the weights after the training's third step; '' in other epochs.
        start: what was so before the training's first step; None in other epochs.
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
        """Return the epoch as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EpochSignals:
        """Return the epoch that `to_dict` gave."""
        layers = {name: LayerSignals(**layer) for name, layer in values["layers"].items()}
        curves = {key: tuple(values[key]) for key in ("losses", "peaks")}
        start = values.get("start")
        before = StartSignals(**start) if start else None
        return cls(**{**values, **curves, "layers": layers, "start": before})


def stride_for(steps: int) -> int:
    """Return how many steps lie between two measured ones in a training of `steps`."""
    return min(STRIDE, max(SHORTEST, steps // MEASURED))


class Recorder:
    """Collects one epoch's signals; `begin` before a step's forward pass, then `step`."""

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

    def begin(self, step: int, device: torch.device) -> bool:
        """Return whether `step`, counted over the whole training, is to be measured."""
        due = step % self.stride == self.stride // 2
        if due:
            self.random = torch.get_rng_state()
            self.random_cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return due

    def step(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_again: Callable[[], Tensor],
        loss: float,
    ) -> None:
        """Let the optimiser step, and measure what the step did; `begin` said it is due."""
        named = [(n, p) for n, p in model.named_parameters() if p.grad is not None]
        parameters = [p for _, p in named]
        gradients = [p.grad.detach().clone() for p in parameters if p.grad is not None]
        with torch.no_grad():
            before = [p.detach().clone() for p in parameters]
        optimizer.step()
        with torch.no_grad():
            steps = torch._foreach_sub([p.detach() for p in parameters], before)
            promised = sum(float((g * s).sum()) for g, s in zip(gradients, steps, strict=True))
            lengths = [torch._foreach_norm(x) for x in (gradients, before, steps)]
        self._layers(named, [[float(v) for v in norms] for norms in lengths])
        self.changes.append((self._loss_after(model, loss_again) - loss, promised))

    def _layers(self, named: list[tuple[str, nn.Parameter]], lengths: list[list[float]]) -> None:
        rows = {}
        for (name, p), gradient, weight, step in zip(named, *lengths, strict=True):
            if p.ndim > 1:
                root = p.numel() ** 0.5
                rows[name] = LayerSignals(gradient / root, weight / root, step / max(weight, 1e-12))
        self.rows.append(rows)
        self.norms.append(float(np.sqrt(sum(g * g for g in lengths[0]))))

    def _loss_after(self, model: nn.Module, loss_again: Callable[[], Tensor]) -> float:
        """Return the batch's loss after the step, with the dropout it had before."""
        buffers = [(b, b.detach().clone()) for b in model.buffers()]
        found: dict[str, float] = {}
        hooks = [
            module.register_forward_hook(_stuck_hook(name, found))
            for name, module in model.named_modules()
            # What finds the face does not learn: nothing of it is this training's fault.
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
        """Keep the loss and the gradients as they are before any step was taken."""
        named = [(n, p, p.grad) for n, p in model.named_parameters() if p.grad is not None]
        norm = float(torch.stack([g.norm() for _, _, g in named]).norm())
        shares = {
            n: _number(float(g.norm() / p.norm().clamp_min(1e-12)))
            for n, p, g in named
            if p.ndim > 1
        }
        known = {name: share for name, share in shares.items() if share is not None}
        self.start = StartSignals(_number(loss), _number(norm), known)

    def take_digest(self, model: nn.Module) -> None:
        """Keep a digest of the weights as they are."""
        self.digest = weights_digest(model)

    def signals(self) -> EpochSignals:
        """Return what was collected so far."""
        losses, peaks = condense(self.losses)
        finite = [(d, p) for d, p in self.changes if np.isfinite(d) and np.isfinite(p)]
        promised = sum(p for _, p in finite)
        return EpochSignals(
            epoch=self.epoch,
            lr=self.lr,
            losses=losses,
            peaks=peaks,
            measured=len(self.changes),
            gain=_number(sum(d for d, _ in finite) / promised) if promised < 0 else None,
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
    """Return the means and the maxima of up to POINTS successive stretches of finite losses."""
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
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _stuck_hook(name: str, found: dict[str, float]) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if isinstance(module, nn.Tanh | nn.Sigmoid):
            centred = output if isinstance(module, nn.Tanh) else 2 * output - 1
            flat = centred.flatten(2) if output.ndim > 2 else centred[:, :, None]
            stuck = flat.abs().mean(dim=2).mean(dim=0) > 0.97
        else:
            low, high = _extremes(output)
            stuck = high - low <= 1e-6
        share = round(float(stuck.float().mean()), 4)
        # A module may act several times in one pass; its worst use counts.
        found[name] = max(share, found.get(name, 0.0))

    return hook


def _extremes(output: Tensor) -> tuple[Tensor, Tensor]:
    """Return each unit's least and largest answer, [units], for outputs [n, units, ...].

    First over the images, along memory as channels-last convolutions lay it out: reducing in
    another order takes ten times as long, as much as the layer itself.
    """
    units = output.shape[1]
    rows = output.movedim(1, -1).flatten(1)
    low, high = rows.amin(0).reshape(-1, units), rows.amax(0).reshape(-1, units)
    return low.amin(0), high.amax(0)


def _number(value: Any) -> float | None:
    """Return a finite float of six digits, or None."""
    return float(f"{float(value):.6g}") if np.isfinite(value) else None
