"""Rules about a watched network's outputs on kept examples: are they random, do they foresee?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.facts import watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import bars
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import LEARNS_NOTHING, Abstention, rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.programs.program import Program
    from mien.doctor.thresholds import Thresholds


@rule("stochastic-evaluation", needs=(PROGRAM,), severities=("warning", "note"))
def stochastic_evaluation(evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
    """The model gives other outputs for the same batch each time, in evaluation mode."""
    program = watched(evidence)
    found = program.repetition
    if found is None:
        return Abstention("no kept batch could be predicted twice, or a state changed in between")
    if found.relative < limits.stochastic_outputs:
        return None
    drops = "dropout" in found.source
    by = f" by {found.source}()" if found.source else ""
    where = f" ({found.place})" if found.place else ""
    remedy = (
        "Use torch.nn.Dropout modules, or pass training=self.training to torch.nn.functional's "
        "dropout, whose default is training=True. If it samples on purpose (Monte Carlo dropout), "
        "average several predictions."
        if drops
        else "Draw random numbers only where self.training is True, and create layers in "
        "__init__, not in forward(). If the model samples on purpose (a variational autoencoder, a "
        "diffusion model, Bayesian layers), validate with the mean instead of a sample, or with "
        "the average of several."
    )
    return Finding(
        "stochastic-evaluation",
        "note" if _may_sample(program) and not drops else "warning",
        "predictions are random in evaluation mode",
        f"In evaluation mode, two predictions of the same {found.examples} examples differ by "
        f"{found.difference:.3g} (root mean square), {found.relative:.2g} times the standard "
        f"deviation of the outputs. Random numbers are drawn{by}{where}.",
        remedy,
        (),
        {"difference": found.difference, "relative": found.relative, "source": found.source},
        bars("difference / deviation of the outputs", {"same batch": found.relative},
             limits.stochastic_outputs),
        "high" if drops else "medium",
    )  # fmt: skip


def _may_sample(program: Program) -> bool:
    """Return whether a model of that task may sample on purpose: it has no targets of its own."""
    return program.targets_are_inputs or not program.has_targets


@rule("future-leak", needs=(PROGRAM,), severities=("serious",))
def future_leak(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """A model that predicts the next position of a sequence sees that position in its inputs."""
    found = watched(evidence).lookahead
    if found is None or found.relative < limits.lookahead:
        return None
    return Finding(
        "future-leak",
        "serious",
        "the model sees the positions that it is to predict",
        "The targets are the inputs shifted by one position. In evaluation mode, the last position "
        f"of {found.sequences} sequences was replaced: outputs at {found.changed} of "
        f"{found.positions} earlier positions changed, by up to {found.change:.3g}, "
        f"{found.relative:.2g} times the standard deviation of the outputs.",
        "Mask later positions: is_causal=True or a mask of torch.nn.Transformer."
        "generate_square_subsequent_mask in attention, padding on the left only in convolutions, "
        "bidirectional=False in recurrent layers.",
        (),
        {"change": found.change, "relative": found.relative, "changed": found.changed,
         "positions": found.positions},
        bars("changed positions", {"changed": found.changed, "earlier": found.positions}),
        "high",
    )  # fmt: skip


@rule(
    "collapsed-outputs",
    needs=(PROGRAM,),
    severities=("serious", "warning"),
    # Not by dead units: a decoder's never change if its code does not.
    explained_by=LEARNS_NOTHING
    | {"weight-decay-too-strong", "clipping-always", "contrastive-temperature", "reads-padding"},
)
def collapsed_outputs(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Values, reconstructions or embeddings are the same for every example."""
    program = watched(evidence)
    found = program.collapse
    if found is None:
        return None
    learnable = found.can_learn or (found.baseline or 0.0) > limits.r2_gap
    embeds = found.beside == "length"
    limit = limits.collapsed_outputs if learnable else limits.constant_outputs
    if found.relative >= limit:
        return None
    beside = "their length" if embeds else "that of the targets"
    known = "" if found.baseline is None else f" The baseline has an R² of {found.baseline:.2f}."
    return Finding(
        "collapsed-outputs",
        "serious" if learnable else "warning",
        "the outputs are the same for every example",
        f"Over {found.examples} training examples with different inputs, the outputs' deviation is "
        f"{found.relative:.2g} of {beside}: a constant does as well.{known}",
        "Give the loss something that pushes the outputs of different examples apart: negative "
        "pairs, a stop-gradient with a predictor, or a variance term; in a variational "
        "autoencoder a smaller weight of the divergence."
        if embeds
        else "Look for what cuts the inputs off from the outputs: a path through zeros, a "
        "bottleneck that is never used (in a variational autoencoder, a weight of the divergence "
        "that is too large: raise it slowly from 0), or a term of the loss that a constant "
        "minimises.",
        (),
        {"relative": found.relative, "baseline": found.baseline},
        bars(f"deviation / {beside.removeprefix('that of ')}", {"outputs": found.relative}, limit),
        "high" if learnable else "medium",
    )
