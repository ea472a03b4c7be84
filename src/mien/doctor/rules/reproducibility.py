"""A rule about reproducibility: does the same seed give the same weights?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.finding import Finding
from mien.doctor.requirements import REPLAY
from mien.doctor.rule import rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


@rule("not-reproducible", needs=(REPLAY,))
def not_reproducible(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """The same seed gives different weights."""
    if evidence.is_reproducible:
        return None
    return Finding(
        "not-reproducible",
        "warning",
        "the training is not reproducible",
        "Its first three steps were repeated with the same seed on this machine and gave "
        "different weights.",
        "Look for randomness without a seeded generator, and for data that changed; one thread on "
        "the CPU is reproducible.",
        ("fit.threads=1", "fit.device=cpu"),
    )
