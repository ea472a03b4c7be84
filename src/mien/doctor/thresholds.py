"""Where the doctor draws its lines. bench/doctor.py chose them on one half of its trainings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits of the rules; each is compared with an interval's near end where it has one.

    Attributes:
        gain_low: gain ratio at the full learning rate below which steps overshoot; a half is the
            best step on a quadratic.
        worse_share: share of steps that make their own batch worse, likewise, where the gain
            ratio is below `gain_high` at least.
        spike: highest training loss over the first, likewise.
        first_moves: median step over weights in the first measured epoch, likewise.
        growth: length of the weights after the first epoch over their first length, likewise.
        gain_high: gain ratio above which steps are tiny.
        update_low: median step over weights below which they are.
        decay: weight decay times learning rate, the share that each step takes off the weights,
            above which decay rules the training.
        falling: share by which the loss must have fallen in the last third to be still falling.
        vanishing: gradient over weights of a layer in the network's first half, over the largest
            of any layer, below which it vanishes.
        exploding: length of the gradient above which it explodes.
        first_loss: loss of the first batches, over that of a network that knows nothing, likewise.
        dead: share of a layer's units that are stuck.
        gap: difference of training and validation accuracy that is overfitting; a third of it
            where validation loss rises, and half where training images are known by heart.
        loss_rise: validation loss at the end over its least that is overfitting.
        memory: parameters for each training image that make a network too complex.
        tiny: parameters below which a network may be too small.
        weak: points of accuracy below the reference that are underfitting.
        confident_error: share of the most confident tenth that contradicts its label.
        imbalance: images of the most common class for one of the rarest.
        ignored: share of a class's validation images found, below which it is ignored.
        copied: share of validation images with a copy in training.
        apart: area under the curve of telling training from validation images.
        half_width: of the interval of the validation accuracy.
    """

    gain_low: float = 0.5
    worse_share: float = 0.25
    spike: float = 1.5
    first_moves: float = 2.5e-2
    growth: float = 2.5
    gain_high: float = 0.97
    update_low: float = 2e-4
    decay: float = 5e-3
    falling: float = 0.08
    vanishing: float = 3e-3
    exploding: float = 20.0
    first_loss: float = 5.0
    dead: float = 0.4
    gap: float = 0.06
    loss_rise: float = 1.25
    memory: float = 500.0
    tiny: int = 20_000
    weak: float = 0.05
    confident_error: float = 0.12
    imbalance: float = 8.0
    ignored: float = 0.02
    copied: float = 0.01
    apart: float = 0.85
    half_width: float = 0.06
