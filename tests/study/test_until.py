from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.conftest import run_mien
from tests.study.fakes import MEANS, PLAN, FakePool

from mien.data.dataset import Dataset
from mien.errors import ConfigError
from mien.scale.registry import EngineOptions
from mien.study.costs import parse_duration
from mien.study.plan import Plan, Training, load_plan, trainings
from mien.study.progress import Progress
from mien.study.sharing import Job
from mien.study.study import CELLS, Outcome
from mien.study.until import run_until_decided

Report = Callable[[Training, str], None]


def run(plan: Plan, dataset: Dataset, out: Path, budget_s: float = 1e6) -> Outcome:
    return run_until_decided(
        Progress.of_folder(plan, dataset, out), out, EngineOptions(workers=1), budget_s
    )


def verdicts(outcome: Outcome) -> list[str]:
    return [claim.verdict for factor in outcome.factors for claim in factor.claims]


def seeds_of(outcome: Outcome) -> dict[str, int]:
    return {cell.name: len(cell.results) for f in outcome.factors for cell in f.cells}


def test_only_undecided_claims_get_more_seeds(tmp_path: Path, plan: Plan, dataset: Dataset) -> None:
    outcome = run(plan, dataset, tmp_path)
    assert verdicts(outcome) == ["supported"] * 3
    assert outcome.stopped == "every claim is decided"
    seeds = seeds_of(outcome)
    assert seeds["large"] == seeds["shown only"] == 4
    assert 4 < seeds["small"] <= 30
    # Paired seeds: the base has every seed that any claim compares with it.
    assert seeds["base"] == max(seeds["small"], seeds["dear"])
    (factor,) = plan.factors
    for cell, count in seeds.items():
        numbers = [t.recipe.fit.seed for t in trainings(plan, factor, cell, count)]
        done = [t.recipe.fit.seed for t in FakePool.ran if t.recipe.optimizer.rate ==
                trainings(plan, factor, cell)[0].recipe.optimizer.rate]  # fmt: skip
        assert sorted(done) == numbers == list(range(count))


def test_primary_claims_come_first(tmp_path: Path, plan: Plan, dataset: Dataset) -> None:
    run(plan, dataset, tmp_path)
    rates = [t.recipe.optimizer.rate for t in FakePool.ran[:8]]
    assert rates == [0.003, 0.001] * 4  # seed by seed, so that an interruption leaves pairs


def test_short_trainings_get_more_seeds_than_long_ones_in_the_same_time(
    tmp_path: Path, plan: Plan, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Differences at the minimum difference are never decided.
    monkeypatch.setitem(MEANS, 0.003, 0.605)
    monkeypatch.setitem(MEANS, 0.004, 0.605)
    outcome = run(plan, dataset, tmp_path, budget_s=700)
    seeds = seeds_of(outcome)
    assert "would exceed the budget" in outcome.stopped
    assert outcome.seconds <= 700
    assert seeds["small"] > seeds["dear"] > 4


def test_the_cheapest_claims_are_decided_first(
    tmp_path: Path, plan: Plan, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A difference at the minimum difference is never decided.
    monkeypatch.setitem(MEANS, 0.003, 0.605)
    outcome = run(plan, dataset, tmp_path)
    assert verdicts(outcome)[2] == "supported"
    rates = [t.recipe.optimizer.rate for t in FakePool.ran]
    last = len(rates) - rates[::-1].index(0.004)
    assert rates[last:].count(0.003) > 5


@pytest.mark.parametrize("latest_first", [False, True])
def test_a_free_worker_does_not_wait_for_the_others(
    tmp_path: Path, plan: Plan, dataset: Dataset, monkeypatch: pytest.MonkeyPatch,
    *, latest_first: bool,
) -> None:  # fmt: skip
    calls: list[int] = []
    ran = FakePool.run

    def count(
        self: FakePool, pending: Sequence[Job], report: Report, more: Callable[[], Sequence[Job]]
    ) -> None:
        calls.append(len(pending))
        running = [len(pending)]

        def counted() -> Sequence[Job]:
            jobs = more()
            running.append(running[-1] - 1 + len(jobs))
            return jobs

        ran(self, pending, report, counted)
        # Three jobs run until hardly any are left: a pair may be the last that decides a claim.
        assert latest_first or min(running[: len(running) * 3 // 4]) >= 3

    monkeypatch.setattr(FakePool, "run", count)
    monkeypatch.setattr(FakePool, "latest_first", latest_first)
    progress = Progress.of_folder(plan, dataset, tmp_path)
    outcome = run_until_decided(progress, tmp_path, EngineOptions(workers=3), 1e6)
    assert verdicts(outcome) == ["supported"] * 3
    assert len(calls) == 1
    keys = [t.key for t in FakePool.ran]
    assert len(keys) == len(set(keys))
    # The seeds of a cell have no gap, in whatever order they ended.
    assert all(None not in cell.results for f in outcome.factors for cell in f.cells)
    if latest_first:  # the first job never comes to its turn: all other seeds run before
        return
    # Seeds that ran beside the deciding one are the only ones more than with one worker.
    monkeypatch.setattr(FakePool, "run", ran)
    alone = seeds_of(run(plan, dataset, tmp_path / "alone"))
    assert all(n <= alone[cell] + 2 for cell, n in seeds_of(outcome).items())


def test_the_budget_is_kept_and_counts_finished_trainings(
    tmp_path: Path, plan: Plan, dataset: Dataset
) -> None:
    outcome = run(plan, dataset, tmp_path, budget_s=4 * (4 * 4 + 40) + 8)
    assert outcome.seconds <= 4 * (4 * 4 + 40) + 8
    assert verdicts(outcome)[0] == "supported"
    with pytest.raises(ConfigError, match="too small for one more round") as caught:
        run(plan, dataset, tmp_path, budget_s=outcome.seconds + 1)
    assert "set budget to" in caught.value.hint
    more = run(plan, dataset, tmp_path, budget_s=1e6)
    assert verdicts(more) == ["supported"] * 3


def test_a_budget_below_the_first_claim_is_refused(
    tmp_path: Path, plan: Plan, dataset: Dataset
) -> None:
    with pytest.raises(ConfigError, match="nothing is spent"):
        run(plan, dataset, tmp_path, budget_s=5)
    assert not FakePool.ran


def test_an_interrupted_study_resumes_to_the_same_outcome(
    tmp_path: Path, plan: Plan, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(plan, dataset, tmp_path / "whole")
    count = len(FakePool.ran)
    FakePool.ran.clear()
    monkeypatch.setattr(FakePool, "stop_after", 19)
    with pytest.raises(KeyboardInterrupt):
        run(plan, dataset, tmp_path / "halves")
    monkeypatch.setattr(FakePool, "stop_after", 10**6)
    resumed = run(plan, dataset, tmp_path / "halves")
    assert verdicts(resumed) == verdicts(whole)
    assert seeds_of(resumed)["small"] == seeds_of(whole)["small"]
    assert len(FakePool.ran) >= count
    keys = [t.key for t in FakePool.ran]
    assert len(keys) == len(set(keys))
    before = len(keys)
    run(plan, dataset, tmp_path / "halves")
    assert len(FakePool.ran) == before


def test_undecided_claims_stop_at_max_seeds(
    tmp_path: Path, plan: Plan, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MEANS, 0.003, 0.605)
    outcome = run(plan, dataset, tmp_path)
    assert seeds_of(outcome)["small"] == 30
    assert outcome.stopped == "1 claim undecided: all 30 seeds (max_seeds) are used"


def test_failed_trainings_are_reported_and_not_repeated_for_ever(
    tmp_path: Path, plan: Plan, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakePool, "fails", {0.002})
    outcome = run(plan, dataset, tmp_path)
    assert verdicts(outcome)[0] == "undecided"
    assert len(outcome.failed) == 30
    keys = [t.key for t in FakePool.ran]
    assert len(keys) == len(set(keys))


def test_a_plan_without_families_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="declares no families") as caught:
        run(load_plan(Path("balance")), dataset, tmp_path)
    assert "[[family]]" in caught.value.hint


def test_durations_are_parsed() -> None:
    assert parse_duration("3h") == 10800
    assert parse_duration("1h30m") == 5400
    assert parse_duration("0.5d") == 43200
    assert parse_duration(" 45s") == 45
    for wrong in ("3", "3x", "h", "", "0m", "-1h", "1h 30"):
        with pytest.raises(ConfigError, match="is not a duration above 0"):
            parse_duration(wrong)


def test_the_command_adds_seeds_and_writes_the_report(
    tmp_path: Path, drawn_folder: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    text = PLAN[: PLAN.index('"small" =')]
    claims = PLAN[PLAN.index("[[factor.claims]]") : PLAN.index('words = "Small')]
    text += claims.replace('family = "rate"\n', 'family = "rate"\nprimary = true\n', 1)
    text = text[: text.rindex("[[factor.claims]]")].replace("max_seeds = 30", "max_seeds = 5")
    (tmp_path / "rates.toml").write_text(text)
    out = tmp_path / "out"
    command = ["study", tmp_path / "rates.toml", "--data", drawn_folder, "--out", out,
               "--until", "decided"]  # fmt: skip
    code, _, err = run_mien(capsys, monkeypatch, *command, "--dry-run")
    assert code == 0
    assert "8 trainings to do before the first look" in err
    assert not out.exists()
    code, printed, err = run_mien(capsys, monkeypatch, *command, "--budget", "1h")
    assert code == 0, err
    assert "Large is better." in printed
    report = json.loads((out / "report.json").read_text())
    assert report["sequential"]
    assert report["families"][0]["name"] == "rate"
    done = len(list((out / CELLS).iterdir()))
    assert 8 <= done <= 10
    (out / "report.md").unlink()
    code, _, err = run_mien(capsys, monkeypatch, *command, "--report")
    assert code == 0
    assert "Large is better." in (out / "report.md").read_text()
    assert len(list((out / CELLS).iterdir())) == done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--until", "done"], "--until: 'done' is not one of: decided"),
        (["--until", "decided"], "--until decided needs --budget"),
        (["--budget", "3h"], "--budget limits --until decided"),
        (["--until", "decided", "--budget", "3"], "'3' is not a duration"),
        (["--until", "decided", "--budget", "0.01s"], "too small for one more round"),
    ],
)
def test_wrong_options_are_refused_with_a_hint(
    tmp_path: Path, plan: Plan, drawn_folder: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str,
) -> None:  # fmt: skip
    command = ["study", tmp_path / "rates.toml", "--data", drawn_folder, "--out", tmp_path / "o"]
    code, _, err = run_mien(capsys, monkeypatch, *command, *arguments)
    assert code == 2
    assert message in err
    assert "hint:" in err
    assert not (tmp_path / "o").exists()


def test_an_interrupted_study_says_how_it_is_resumed(
    tmp_path: Path, plan: Plan, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mien.study.until.run_until_decided", interrupted)
    command = ["study", tmp_path / "rates.toml", "--data", drawn_folder, "--out", tmp_path / "o"]
    code, _, err = run_mien(
        capsys, monkeypatch, *command, "--until", "decided", "--budget", "1h", "--yes"
    )
    assert code == 130
    assert "study interrupted: finished trainings are kept\nresume: mien study" in err
