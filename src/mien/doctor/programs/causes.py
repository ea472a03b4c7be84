"""What a weak result may come from, measured once for the report on the kept examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.programs.classlike import class_like_of
from mien.doctor.programs.contrastive import contrastive_of
from mien.doctor.programs.measurements import Causes
from mien.doctor.programs.mirrors import mirrored_of
from mien.doctor.programs.optimizers import mixed_of
from mien.doctor.programs.positions import positions_of

if TYPE_CHECKING:
    from torch import Tensor

    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.task import Task


def causes_of(watch: Recording, task: Task, outputs: list[Tensor] | None) -> Causes:
    """Return what was measured of possible causes; each is None where it cannot be judged.

    Args:
        watch: of the loop.
        task: that it learns.
        outputs: of the kept training examples, in batches.
    """
    return Causes(
        class_like=class_like_of(watch, task, outputs),
        positions=positions_of(watch),
        mirrored=mirrored_of(watch),
        contrastive=contrastive_of(watch),
        mixed=mixed_of(watch),
        plateau=watch.plateau,
        fit=task.fit,
    )
