"""A visit to the doctor: look at a run, name what is wrong, write it down: read `visit` first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mien.files import write_bytes, write_json
from mien.train.diagnose import diagnose
from mien.train.doctor.evidence import gather
from mien.train.doctor.picture import draw_findings
from mien.train.doctor.replay import repeats

if TYPE_CHECKING:
    from pathlib import Path

    from mien.data.manifest import Dataset
    from mien.train.doctor.finding import Finding
    from mien.train.runfolder import RunFolder

JSON, PICTURE = "doctor.json", "doctor.png"


def visit(run: RunFolder, dataset: Dataset) -> list[Finding]:
    """Return what is wrong with a run, and leave doctor.json and doctor.png in its folder.

    Raises:
        RunFolderError: the folder is damaged.
        DataError: the data cannot be trained on with the run's recipe.
        WriteError: the two files could not be written.
    """
    evidence = replace(gather(run, dataset), repeats=repeats(run, dataset))
    findings = diagnose(evidence)
    write_findings(run, findings)
    return findings


def write_findings(run: RunFolder, findings: list[Finding], **more: Any) -> None:
    """Write doctor.json, and doctor.png where a finding has a plot."""
    write_json(run.path / JSON, {"findings": [finding.to_dict() for finding in findings], **more})
    picture = draw_findings(findings, title=f"{run.recipe.name}: what the doctor found")
    path: Path = run.path / PICTURE
    if picture is None:
        path.unlink(missing_ok=True)
    else:
        write_bytes(path, picture)
