"""How the network's output becomes the loss: needed to compute the loss of a batch again.

A loop may apply a softmax, a reshape or a conversion of the labels between network and loss. The
candidates below are tried once, and the one that reproduces the loop's own loss is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from mien.doctor.programs.trees import unnamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOLERANCE = 1e-4
"""Relative difference up to which two losses are the same computation."""

BY_GRADIENT: dict[str, tuple[Callable[..., Tensor], ...]] = {
    "MseLossBackward": (functional.mse_loss,),
    "SmoothL1LossBackward": (functional.smooth_l1_loss,),
    "HuberLossBackward": (functional.huber_loss,),
    "BinaryCrossEntropyWithLogitsBackward": (functional.binary_cross_entropy_with_logits,),
    "BinaryCrossEntropyBackward": (functional.binary_cross_entropy,),
    "MeanBackward": (functional.l1_loss, functional.mse_loss),
    # cross_entropy is a log-softmax and this loss; it comes first, as it is the usual call.
    "NllLossBackward": (functional.cross_entropy, functional.nll_loss),
}
"""The loss functions that a loss tensor's gradient function reveals."""


@dataclass(frozen=True, slots=True)
class Link:
    """From the network's output to the loss.

    Attributes:
        name: class or function of the loss.
        criterion: called with predictions and targets.
        transform: from the network's output to the predictions.
        convert: from the targets given to `Watch.step` to those of the criterion.
        layout: the part of `transform` that moves values and computes none.
        shifts: whether the output at a position is compared with the target of the next one.
        reshaped: how the layout puts values of one position into another; '' where it does not.
    """

    name: str
    criterion: Callable[..., Tensor]
    transform: Callable[[Tensor], Tensor]
    convert: Callable[[Any], Any]
    layout: Callable[[Tensor], Tensor] = lambda x: x
    shifts: bool = False
    reshaped: str = ""

    def loss(self, output: Tensor, targets: Any) -> Tensor:
        """Return the loss of a batch; the mean of what a criterion without reduction returns."""
        value: Any = self.criterion(self.transform(output), self.convert(targets))
        # Some criteria return a number.
        return torch.as_tensor(value).mean()


SHAPES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x,
    lambda x: x.squeeze(-1),
    lambda x: x.reshape(-1, x.shape[-1]),
    lambda x: x.reshape(-1),
)

Layout = tuple["Callable[[Tensor], Tensor]", "Callable[[Any], Any]"]
SHIFTED: tuple[Layout, ...] = (
    (lambda x: x[:, :-1].reshape(-1, x.shape[-1]), lambda t: t[:, 1:].reshape(-1)),
    (lambda x: x[:, :-1].reshape(-1, x.shape[-1]), lambda t: t.reshape(-1)),
)
"""Language models whose output at a position predicts the next token: logits [n, l, k], with tokens
[n, l] as targets or with the later ones [n, l - 1]."""
DENSE: tuple[Layout, ...] = (
    (lambda x: x.movedim(1, -1).reshape(-1, x.shape[1]), lambda t: t.reshape(-1)),
    (lambda x: x, lambda t: t.long().squeeze(1)),
    (lambda x: x.reshape(-1), lambda t: t.float().reshape(-1)),
)
"""Outputs [n, k, ...] and a target for each position."""
RESHAPED: tuple[tuple[str, Layout], ...] = (
    ("view(-1, {k}) without moving dimension 1 to the end", (
        lambda x: x.reshape(-1, x.shape[1]), lambda t: t.reshape(-1))),
    ("view({n}, {k}, -1) instead of transpose(1, 2)", (
        lambda x: x.reshape(len(x), x.shape[-1], -1), lambda t: t.reshape(len(t), -1))),
)  # fmt: skip
"""Layouts that mix positions, by what the loop calls."""

ACTIVATIONS: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("", lambda x: x),
    ("Softmax", lambda x: x.softmax(-1)),
    ("LogSoftmax", lambda x: x.log_softmax(-1)),
    ("Sigmoid", torch.sigmoid),
    ("Tanh", torch.tanh),
    ("ReLU", torch.relu),
)


def link_of(
    criterion: Callable[..., Tensor] | None, loss: Tensor, output: Tensor, targets: Any
) -> Link | None:
    """Return the link that reproduces a loop's loss; None if no candidate does.

    Args:
        criterion: given to `watch`; None infers it from the loss tensor.
        loss: of the loop, a scalar; of several values the mean counts.
        output: of the network, in the same forward pass.
        targets: given to `Watch.step`.
    """
    wanted = float(loss.detach().double().mean())
    for name, function in criteria(criterion, loss):
        for shape in SHAPES:
            for label, activation in ACTIVATIONS:
                # The most common forms come first in each list, so that the search usually ends at
                # once.
                for convert in _conversions(output):
                    link = Link(name, function, _chain(shape, activation), convert)
                    if _gives(link, output.detach(), targets, wanted):
                        # Without an activation the shorter chain does: the link runs in each
                        # measured step.
                        return Link(
                            name, function, link.transform if label else shape, convert, shape
                        )
        found = _dense_link(name, function, output, targets, wanted)
        if found is not None:
            return found
    return None


def _dense_link(
    name: str, function: Callable[..., Tensor], output: Tensor, targets: Any, wanted: float
) -> Link | None:
    """Return the link of outputs with a value for each position; None if none gives the loss."""
    if output.ndim < 3 or not isinstance(targets, Tensor):
        return None
    layouts = [("", pair, False) for pair in DENSE] + [("", pair, True) for pair in SHIFTED]
    layouts += [(words, pair, False) for words, pair in RESHAPED]
    for words, (shape, convert), shifts in layouts:
        for label, activation in ACTIVATIONS:
            transform = _chain(shape, activation) if label else shape
            link = Link(name, function, transform, convert, shape, shifts, words)
            if _gives(link, output.detach(), targets, wanted):
                return link
    return None


def criteria(
    criterion: Callable[..., Tensor] | None, loss: Tensor
) -> Iterator[tuple[str, Callable[..., Tensor]]]:
    """Return name and function of the criteria that may have given a loss, the likely first.

    Args:
        criterion: given to `watch`; None infers it from the loss tensor.
        loss: of the loop, a scalar.
    """
    if criterion is not None:
        name = getattr(criterion, "__name__", type(criterion).__name__)
        yield name, criterion
        return
    # autograd numbers its classes, as in MseLossBackward0.
    found = type(loss.grad_fn).__name__.rstrip("0123456789") if loss.grad_fn is not None else ""
    known = "NllLossBackward" if found.startswith("NllLoss") else found
    for function in BY_GRADIENT.get(known, ()):
        yield function.__name__, function


def _chain(
    first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    return lambda x: second(first(x))


def _conversions(output: Tensor) -> Iterator[Callable[[Any], Any]]:
    yield lambda t: t
    yield lambda t: t.to(output.dtype)
    yield lambda t: t.to(output.dtype).unsqueeze(-1)
    yield lambda t: t.to(output.dtype).squeeze(-1)
    yield lambda t: t.reshape(-1)
    yield lambda t: t.long().squeeze(-1)
    yield lambda t: functional.one_hot(t.long(), output.shape[-1]).to(output.dtype)


def _gives(link: Link, output: Tensor, targets: Any, wanted: float) -> bool:
    import warnings

    try:
        with torch.no_grad(), warnings.catch_warnings():
            # A candidate that broadcasts is a wrong one, not the user's mistake.
            warnings.simplefilter("error")
            value = link.loss(unnamed(output), targets)
        found = float(value)
    except Exception:  # noqa: BLE001 - a criterion of the user's may raise anything
        return False
    # The floor lets losses near 0 differ by rounding.
    return abs(found - wanted) <= TOLERANCE * max(abs(wanted), 1e-3)
