from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tests.doctor.faults import FAULTS, healthy
from tests.train.test_fit import recipe

from mien.data.dataset import Dataset
from mien.doctor.diagnose import diagnose
from mien.doctor.evidence import _domain_shift_auc
from mien.doctor.run_diagnostics import run_diagnostics, write_findings
from mien.train.loop.fit import fit
from mien.train.run.folder import create_run


def images(n: int, mean: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(mean, 30, (n, 48, 48)).clip(0, 255).astype(np.uint8)


def test_the_auc_is_at_chance_level_within_one_collection() -> None:
    assert _domain_shift_auc(images(300, 120, 0), images(300, 120, 1)) == pytest.approx(
        0.5, abs=0.12
    )
    assert _domain_shift_auc(images(300, 120, 0), images(300, 90, 1)) > 0.99


def test_the_same_images_in_both_splits_are_no_domain_shift() -> None:
    same = images(100, 120, 0)
    # Leave-one-out, each image is most like its duplicate, which is in the other split.
    assert _domain_shift_auc(same, same) <= 0.5


def test_an_empty_split_has_no_auc() -> None:
    assert math.isnan(_domain_shift_auc(images(10, 120, 0), images(0, 120, 1)))


def test_doctor_json_names_the_rules_that_abstained(tmp_path: Path, drawn: Dataset) -> None:
    run = create_run(tmp_path / "run", recipe(fit={"epochs": 1}), drawn, tmp_path)
    fit(run, drawn)
    (run.path / "signals.jsonl").unlink()
    findings = run_diagnostics(run, drawn)
    written = json.loads((run.path / "doctor.json").read_text())
    assert [f["name"] for f in written["findings"]] == [f.name for f in findings]
    assert written["not_judged"]["dead-units"] == "no activation was measured"
    # The experiments of --deep add findings later; the abstentions stay.
    more = [*findings, *diagnose(healthy(**FAULTS["overfitting"]))]
    write_findings(run, more)
    again = json.loads((run.path / "doctor.json").read_text())
    assert len(again["findings"]) == len(more)
    assert again["not_judged"] == written["not_judged"]
