"""Rules about losses that compare examples or oppose each other: contrastive, adversarial."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mien.doctor.facts import watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import bars, listed
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import UNSOUND_LOOP, rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds

FLAT, HIGH = 0.9, 1.2
"""Loss over that of equal outputs from which a temperature flattens it, and above which it is too
low."""


@rule("contrastive-temperature", needs=(PROGRAM,), explained_by=UNSOUND_LOOP | {"diverged"})
def contrastive_temperature(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The temperature of a contrastive loss is far from what the embeddings need."""
    found = watched(evidence).causes.contrastive
    if found is None:
        return None
    chance, ratio = math.log(found.pairs), found.temperature / found.best_temperature
    # Embeddings that tell pairs apart would have a far lower loss.
    if found.best > limits.separated * chance or found.loss < FLAT * chance:
        return None
    high = found.loss <= chance and ratio > limits.temperature_ratio
    low = found.loss > HIGH * chance and ratio < 1 / limits.temperature_ratio
    if not (high or low):
        return None
    return Finding(
        "contrastive-temperature",
        "warning",
        f"the temperature of the contrastive loss is too {'high' if high else 'low'}",
        f"The training loss ended at {found.loss:.4g}; equal outputs have {chance:.4g} with "
        f"{found.pairs} pairs in a batch. Computed again from the cosines of the kept pairs, that "
        f"is a temperature of about {found.temperature:.2g}; at {found.best_temperature:.2g} the "
        f"same embeddings have {found.best:.3g}.",
        "Use a temperature of 0.05 to 0.5, and normalise the embeddings: cosines lie between -1 "
        "and 1, and are divided by it.",
        (),
        {"temperature": found.temperature, "best": found.best_temperature, "loss": found.loss},
        bars("loss", {"recorded": found.loss, "equal outputs": chance,
                      "at the best temperature": found.best}),
    )  # fmt: skip


@rule("losses-mixed", needs=(PROGRAM,), severities=("serious",))
def losses_mixed(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """One network's step uses the gradient of its opponent's loss as well."""
    found = watched(evidence).causes.mixed
    if found is None or found.fraction < limits.mixed_losses or found.cosine > limits.opposed:
        return None
    return Finding(
        "losses-mixed",
        "serious",
        "a network's step uses its opponent's gradient as well",
        f"In {found.fraction:.0%} of {found.steps} measured steps the gradient of "
        f"{listed(found.names)} contained that of the loss that another optimiser's step followed "
        f"before. The two oppose each other (median cosine {found.cosine:.2f}), and cancel.",
        "Detach what the generator made in the discriminator's loss, "
        "discriminator(fake.detach()), or call the generator's zero_grad() between the "
        "discriminator's step and the generator's backward pass.",
        (),
        {"fraction": found.fraction, "cosine": found.cosine, "steps": found.steps},
        bars("fraction of steps", {"with the opponent's gradient": found.fraction},
             limits.mixed_losses),
        "high",
    )  # fmt: skip
