"""Rules about a watched network's shapes: does each example keep its own row?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.facts import watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import bars
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import Abstention, rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


@rule("examples-mixed", needs=(PROGRAM,), severities=("serious",))
def examples_mixed(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """The output for one example depends on the other examples of its batch."""
    mixing = watched(evidence).mixing
    if mixing is None:
        return Abstention(
            "no kept batch could be predicted again with some of its examples replaced"
        )
    if mixing.relative < limits.mixed_outputs:
        return None
    return Finding(
        "examples-mixed",
        "serious",
        "the examples of a batch are mixed with each other",
        f"In evaluation mode, {mixing.replaced} of {mixing.replaced + mixing.kept} examples of a "
        f"batch were replaced: the outputs of the other {mixing.kept}, whose inputs stayed the "
        f"same, changed by up to {mixing.change:.3g}, {mixing.relative:.2g} times the standard "
        "deviation of the outputs.",
        "Look in forward() for what moves or sums over the first dimension: view, reshape, permute "
        "or transpose (flatten each example with x.flatten(1)), recurrent or attention layers "
        "without batch_first=True, and softmax, mean or sum over dim=0.",
        (),
        {"change": mixing.change, "relative": mixing.relative, "replaced": mixing.replaced},
        bars("change / deviation of the outputs", {"unchanged examples": mixing.relative},
             limits.mixed_outputs),
        "high",
    )  # fmt: skip


@rule("positions-mixed", needs=(PROGRAM,), severities=("serious",))
def positions_mixed(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """A view gives the outputs of one position to another, and one class's to another class."""
    program = watched(evidence)
    if not program.reshaped or program.outputs is None:
        return None
    return Finding(
        "positions-mixed",
        "serious",
        "a view mixes the positions and classes of the outputs",
        f"The outputs reach the loss by {program.reshaped}: their values stay in the same order, "
        f"and each position gets those of others, as {program.outputs.units} classes.",
        "Move the dimension, which moves the values: outputs.transpose(1, 2) for sequences, "
        "outputs.permute(0, 2, 3, 1).reshape(-1, classes) for images.",
        (),
        {"units": program.outputs.units, "call": program.reshaped},
        bars("classes", {"of the outputs": program.outputs.units}),
        "high",
    )


@rule("masks-misaligned", needs=(PROGRAM,), severities=("serious",))
def masks_misaligned(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The masks of a segmentation fit their images only when they are turned or mirrored."""
    program = watched(evidence)
    found = program.alignment
    if found is None or program.learned_well:
        return None
    if found.turned - found.recall < limits.misaligned:
        return None
    return Finding(
        "masks-misaligned",
        "serious",
        "images and masks are not aligned",
        "The baseline (kernel ridge regression on the inputs around a position, leave-one-out) "
        f"has a mean recall of {found.recall:.1%} on the training masks as they are and of "
        f"{found.turned:.1%} on masks {found.turn}, at {found.positions} positions.",
        "Look at an image with its mask on top of it. Axes are exchanged where one is read as "
        "(width, height) or transposed, and a random flip must be the same for both.",
        (),
        {"recall": found.recall, "turned": found.turned, "turn": found.turn},
        bars("mean recall", {"as they are": found.recall, "turned": found.turned}),
        "high",
    )


@rule("targets-broadcast", needs=(PROGRAM,), severities=("serious",))
def targets_broadcast(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The loss compares each output of a batch with each target."""
    program = watched(evidence)
    found = program.broadcast
    if found is None:
        return None
    column = found.outputs == (*found.targets, 1)
    remedy = (
        "Give both the same shape: targets.unsqueeze(1), or outputs.squeeze(1) in the model."
        if column and len(found.targets) == 1
        else "Give both the same shape, such as targets.reshape(outputs.shape), with unsqueeze or "
        "squeeze."
    )
    bound = (
        f" In none of {found.steps} compared steps was it below that of the best constant for the "
        "batch's targets, which a loss over all pairs never is."
        if found.steps
        else ""
    )
    return Finding(
        "targets-broadcast",
        "serious",
        "outputs and targets have different shapes, and the loss compares each with each",
        f"Outputs of shape {found.outputs} and targets of shape {found.targets} broadcast to "
        f"{found.result} in {program.loss_name or 'the loss'}. Of one batch the loss is "
        f"{found.loss:.3g}; with equal shapes it is {found.equal_loss:.3g}.{bound}",
        remedy,
        (),
        {"loss": found.loss, "equal_loss": found.equal_loss, "outputs": str(found.outputs),
         "targets": str(found.targets), "result": str(found.result)},
        bars("loss", {"as it is": found.loss, "equal shapes": found.equal_loss}),
        "high" if found.is_reproduced else "medium",
    )  # fmt: skip
