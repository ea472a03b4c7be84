"""Rules about what the outputs of a watched network's sequences depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.facts import fails_to_learn, watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import bars
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import UNSOUND_LOOP, rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds

CAUSES = UNSOUND_LOOP | {"diverged", "learning-rate-too-high", "learning-rate-too-low"}
"""Findings that keep a network from using its inputs."""


@rule("reads-padding", needs=(PROGRAM,), severities=("serious",), explained_by=CAUSES)
def reads_padding(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The outputs of padded sequences depend on their padding, and hardly on their content."""
    found = watched(evidence).causes.positions
    if found is None or found.seen is None or not fails_to_learn(evidence):
        return None
    ends = found.seen_at_end or 0.0
    # Outputs that vary with the padding alone; those of a network that forgets do not vary at all.
    blind = found.seen == 0.0 and found.varies
    if not blind and not found.seen < limits.seen * ends:
        return None
    change = (
        "their outputs did not change"
        if blind
        else f"their outputs changed by {found.seen:.2g} (median), and by {ends:.2g} with the "
        "padding moved to the other end"
    )
    remedy = (
        "Look at the mask: in key_padding_mask and src_key_padding_mask of torch.nn, True marks "
        "the padding, which is to be ignored; in scaled_dot_product_attention it marks what is "
        "attended to. Pool over the other positions alone."
        if blind
        else "Take the last position before the padding: pack_padded_sequence(lengths=...), or "
        "outputs[torch.arange(n), lengths - 1]; or pad on the other side."
    )
    return Finding(
        "reads-padding",
        "serious",
        "padded sequences are read where their padding is",
        f"{found.padded:.0%} of {found.sequences} kept sequences are padded, "
        f"{found.padding:.0%} of their positions. In evaluation mode all other positions were "
        f"replaced: {change}.",
        remedy,
        (),
        {"seen": found.seen, "seen_at_end": found.seen_at_end, "padded": found.padded},
        bars("change of the outputs", {"as they are": found.seen, "padding moved": ends}),
        "high" if blind else "medium",
    )


@rule("inputs-ignored", needs=(PROGRAM,), explained_by=CAUSES | {"reads-padding"})
def inputs_ignored(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The outputs depend on few positions of the sequences."""
    found = watched(evidence).causes.positions
    if found is None or not found.tried or found.unused < limits.unused * found.tried:
        return None
    if found.unused == found.tried or not fails_to_learn(evidence):
        return None
    return Finding(
        "inputs-ignored",
        "warning",
        "the outputs do not depend on most positions of the inputs",
        f"In evaluation mode {found.tried} of {found.length} positions of {found.sequences} kept "
        f"sequences were replaced, one at a time: {found.unused} of them changed no output.",
        "Look at which position is read: of a recurrent layer outputs[:, -1] has seen all "
        "positions, outputs[:, 0] the first alone; and at masks: in key_padding_mask of torch.nn "
        "True marks the padding, which is to be ignored.",
        (),
        {"unused": found.unused, "tried": found.tried, "length": found.length},
        bars("replaced positions", {"tried": found.tried, "without effect": found.unused}),
        "high",
    )


@rule("order-ignored", needs=(PROGRAM,), explained_by=CAUSES | {"reads-padding"})
def order_ignored(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """An attention network does not know the order of its positions, and learns nothing."""
    program = watched(evidence)
    found = program.causes.positions
    if found is None or not found.ignores_order or not found.attends:
        return None
    if not fails_to_learn(evidence) or _knows_without_order(evidence):
        return None
    return Finding(
        "order-ignored",
        "warning",
        "the network does not know the order of its inputs",
        f"In evaluation mode the positions of {found.sequences} kept sequences of "
        f"{found.length} were put into another order: the outputs did not change. Attention "
        "without a positional encoding sees a set.",
        "Add a positional encoding to the embedding, such as a learned nn.Embedding of the "
        "position. If the order does not matter, look for another cause: labels that are unrelated "
        "to the inputs, for one.",
        (),
        {"sequences": found.sequences, "length": found.length},
        bars("positions", {"put into another order": found.length, "with an effect": 0}),
    )


def _knows_without_order(evidence: Evidence) -> bool:
    """Return whether counts of tokens, without their order, tell a baseline the targets."""
    program = watched(evidence)
    if not program.tokens or program.baseline_score is None:
        return False
    counts = evidence.class_counts_k
    floor = float(counts.max() / counts.sum()) if counts.sum() else 0.0
    return program.baseline_score > floor + 0.1
