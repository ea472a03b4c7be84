"""Gradient clipping that sets every step's length, seen in few measured steps."""

from __future__ import annotations

import pytest
from tests.doctor.faults import FAULTS, healthy, program

from mien.doctor.diagnose import diagnose


@pytest.mark.parametrize(
    ("norms", "found"),
    [
        ((1e-4, 0.99999e-4, 1e-4, 1e-4), True),
        ((1e-4, 0.995e-4, 1e-4, 1e-4), False),  # few, and not equal in all digits
        ((1e-4, 0.995e-4) * 4, True),
        ((1e-4, 0.9e-4) * 4, False),
        ((1e-4,) * 3, False),
    ],
)
def test_equal_norms(norms: tuple[float, ...], found: bool) -> None:
    evidence = healthy(program=program(clip_ratio=1e-3, gradient_norms=norms))
    assert ("clipping-always" in [f.name for f in diagnose(evidence)]) == found


@pytest.mark.parametrize("name", ["model-too-small", "learning-rate-too-low", "underfitting"])
def test_what_clipping_explains(name: str) -> None:
    clipped = program(clip_ratio=1e-3, gradient_norms=(1e-4,) * 8)
    found = [f.name for f in diagnose(healthy(**{**FAULTS[name], "program": clipped}))]
    assert found == ["clipping-always"]
