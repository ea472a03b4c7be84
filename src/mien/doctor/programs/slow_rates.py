"""Rates that are too low for a short training, for the remedies of several findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.errors import counted

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence

LOW_RATE = 0.01
"""Learning rate below which SGD without momentum is slow."""
SHORT = 1000
"""Steps below which Adam's default rate, 0.001, is too low to get far in time."""
DEFAULT_RATES = (0.0005, 0.001)
"""Range of learning rates of Adam that are its default, and not chosen for a fine-tuning."""


def beside_slow_sgd(evidence: Evidence) -> str:
    """Return a sentence about SGD without momentum, to put after a remedy; '' for others."""
    program = evidence.program
    rate = max((e.lr for e in evidence.signals), default=LOW_RATE)
    if program is None or not program.settings.is_plain_sgd or program.settings.momentum:
        return ""
    if rate >= LOW_RATE:
        return ""
    text = f" SGD without momentum is slow at a rate of {rate:g}: use torch.optim.AdamW"
    if program.steps >= SHORT:
        return f"{text} at 0.001, or momentum=0.9 and a higher rate."
    return (
        f"{text} at 0.003 (its default of 0.001 suits trainings of more than "
        f"{counted(program.steps, 'step')}), or momentum=0.9 and a higher rate."
    )


def beside_untried_rate(evidence: Evidence) -> str:
    """Return a sentence about the rate of an optimiser that did not hold the parameters yet."""
    program = evidence.program
    rate = max((e.lr for e in evidence.signals), default=0.0)
    if program is None or program.settings.is_plain_sgd:
        return beside_slow_sgd(evidence)
    if program.steps >= SHORT or not DEFAULT_RATES[0] <= rate <= DEFAULT_RATES[1]:
        return ""
    return (
        f" The rate of {rate:g} was not tried on them: in {counted(program.steps, 'step')} Adam "
        "may need 0.003."
    )
