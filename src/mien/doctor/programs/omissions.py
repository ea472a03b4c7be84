"""What a loop did not give the watch, so that the report says so where nothing is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.task import Task

MIN_EARLY, MOSTLY = 2, 0.8
"""Measured steps in the wrong order that show it, and their fraction."""


def omissions(watch: Recording, task: Task) -> list[str]:
    """Return a sentence on each thing that was not given, or does not fit the rest."""
    found = []
    if not watch.steps and not watch.is_entered:
        found.append(
            "the watch was never entered: nothing was recorded; write 'with doctor.watch(...) as "
            "watch:' around the loop"
        )
    elif not watch.steps:
        found.append(
            "Watch.step was never called: the training was not recorded; call it after each step "
            "of the optimiser"
        )
    elif "keeping examples" not in watch.failures:
        if not any(watch.batch_sizes):
            found.append(
                "Watch.step got no inputs with a tensor: what needs examples was not judged; call "
                "watch.step(loss, inputs, targets)"
            )
        elif not watch.order.batches:
            found.append("Watch.step got no targets: what needs labels was not judged")
    found += _order(watch)
    if watch.steps and not watch.losses and "recording the losses" not in watch.failures:
        found.append("Watch.step got no loss: what needs losses was not judged")
    given = len(watch.classes or ())
    known = len(task.labels) or len(task.names)
    if given and task.kind not in ("regression", "other") and given != known:
        what = "labels" if task.labels else "classes"
        found.append(
            f"classes: {given:,} names for {known:,} {what} of the outputs; the names are not used"
        )
    return found


def _order(watch: Recording) -> list[str]:
    """Return a sentence where `Watch.step` comes before the optimiser's step of its batch."""
    early = [row.early for row in watch.rows if row.early is not None]
    # A single one may be a step before the loop.
    if len(early) < MIN_EARLY or len(early) < MOSTLY * len(watch.rows):
        return []
    what = "loss.backward() and optimizer.step()" if all(early) else "optimizer.step()"
    return [
        f"Watch.step was called before {what} in {len(early):,} of {len(watch.rows):,} measured "
        "steps: what a step changes was not measured; call it after optimizer.step()"
    ]
