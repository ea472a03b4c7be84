"""An audit as a CSV table that `mien data import --apply` applies, and as JSON."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.data.audit.audit import Audit
    from mien.data.audit.duplicate_checks import Leak
    from mien.data.audit.problem import Problem

COLUMNS = (
    "source", "sha256", "label", "check", "severity", "detail", "action", "new_label",
)  # fmt: skip


def to_csv(audit: Audit) -> str:
    """Return the text of audit.csv: one row per finding, in the order of the page."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(describe_problem(audit, problem) for problem in audit.problems)
    return buffer.getvalue()


def describe_problem(audit: Audit, problem: Problem) -> dict[str, str]:
    """Return a finding as a row of the table."""
    row, dataset = problem.row, audit.dataset
    label = int(dataset.labels_n[row]) if row >= 0 else -1
    return {
        "source": str(dataset.sources_n[row]) if row >= 0 else problem.source,
        # By which `--apply` recognises the image, whatever the file is called then.
        "sha256": str(audit.sha256_n[row]) if row >= 0 else "",
        "label": dataset.label_names[label] if label >= 0 else "",
        "check": problem.check,
        "severity": problem.severity,
        "detail": problem.detail,
        "action": problem.action,
        "new_label": problem.new_label,
    }


def to_json(audit: Audit) -> dict[str, Any]:
    """Return the audit as JSON types, without its images."""
    agreement = None
    if audit.agreement is not None:
        agreement = {"n": audit.agreement[1], **audit.agreement[0].to_dict()}
    return {
        "name": audit.dataset.name,
        "n": len(audit.dataset),
        "counts": audit.counts(),
        "suggested": audit.suggested(),
        "not_checked": audit.not_checked,
        "notes": audit.notes,
        "leaks": [describe_leak(leak) for leak in audit.leaks],
        "leaks_after_import": None
        if audit.leaks_after_import is None
        else [describe_leak(leak) for leak in audit.leaks_after_import],
        "balance": audit.balance,
        "likely_wrong_confirmed_by_raters": agreement,
        "model": audit.model,
        "problems": [describe_problem(audit, problem) for problem in audit.problems],
    }


def describe_leak(leak: Leak) -> dict[str, Any]:
    """Return a leak as JSON types."""
    return {
        "split": leak.split,
        "n": leak.n,
        "exact": leak.exact,
        "duplicated": leak.duplicated,
        "training_duplicates": leak.training,
        "fraction": leak.fraction.to_dict(),
    }
