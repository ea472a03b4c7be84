"""A doctor for trainings: findings with evidence and remedies.

`watch` observes any PyTorch loop (programs/watch.py); `run_diagnostics` examines a run of mien's
(run_diagnostics.py); `diagnose_logs` judges the logs of other programs
(logs/diagnose.py).
Importing this package does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.doctor.finding import Finding, Plot
    from mien.doctor.logs.diagnose import diagnose_logs
    from mien.doctor.programs.watch import Watch, watch
    from mien.doctor.report import Report

_HOMES = {
    "Finding": "mien.doctor.finding",
    "Plot": "mien.doctor.finding",
    "Report": "mien.doctor.report",
    "Watch": "mien.doctor.programs.watch",
    "diagnose_logs": "mien.doctor.logs.diagnose",
    "watch": "mien.doctor.programs.watch",
}
__all__ = ["Finding", "Plot", "Report", "Watch", "diagnose_logs", "watch"]


def __getattr__(name: str) -> Any:
    """Import a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
