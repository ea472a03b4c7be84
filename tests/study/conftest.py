from __future__ import annotations

from pathlib import Path

import pytest
from tests.study.fakes import PLAN, FakePool

from mien.data.dataset import Dataset, load_dataset
from mien.study import until
from mien.study.costs import Costs
from mien.study.plan import Plan, load_plan


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mien.data.build import write_dataset
    from mien.data.drawn import draw_faces, split_drawn

    folder = tmp_path_factory.mktemp("until") / "drawn"
    write_dataset(split_drawn(draw_faces(240, 5)), folder)
    return folder


@pytest.fixture
def dataset(drawn_folder: Path, fake: None, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    found = load_dataset(drawn_folder)
    monkeypatch.setattr(FakePool, "fingerprint", found.fingerprint)
    return found


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "rates.toml").write_text(PLAN)
    return load_plan(tmp_path / "rates.toml")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(until, "Pool", FakePool)
    # Timing steps would make the order of claims depend on the machine.
    monkeypatch.setattr(Costs, "seconds", lambda self, training: float(training.recipe.fit.epochs))
    monkeypatch.setattr(FakePool, "ran", [])
    monkeypatch.setattr(FakePool, "fails", set())
    monkeypatch.setattr(FakePool, "stop_after", 10**6)
