from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.data.dataset import Dataset
from mien.study.cell import Result
from mien.study.costs import Costs, estimate_seconds
from mien.study.measures import MEASURES
from mien.study.plan import Training, load_plan, trainings
from mien.train.loop import align_pretraining

SMALL = ["network.width=2", "network.hidden=8", "fit.epochs=2", "data.train=0"]


def training(*overrides: str) -> Training:
    plan = load_plan(Path("poster"), [*SMALL, *overrides])
    return trainings(plan, plan.factors[0], "Adam 0.001", 1)[0]


def test_the_estimate_includes_the_alignment_network(drawn: Dataset) -> None:
    plain, aligned = training(), training("network.align=8")
    threads = torch.get_num_threads()
    without = estimate_seconds([plain], drawn)
    # 4,000 batches of 128 on top of two epochs of 200 images take many times as long anywhere.
    assert estimate_seconds([aligned], drawn) > 10 * without > 0
    assert estimate_seconds([aligned, aligned], drawn) > 20 * without
    assert torch.get_num_threads() == threads


def test_the_alignment_s_estimate_scales_a_few_steps_to_all(
    drawn: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    whole: Callable[..., float] = align_pretraining.fit_alignment

    def counted(*arguments: Any) -> float:
        *rest, progress = arguments

        def count(done: int, total: int) -> None:
            calls.append(done)
            progress(done, total)

        return whole(*rest, count)

    monkeypatch.setattr("mien.train.loop.timing.fit_alignment", counted)
    costs = Costs([training("network.align=4")], drawn)
    first = costs.seconds(training("network.align=4"))
    assert calls == [1, 2, 3, 4, 5, 6]
    # The other seeds and cells with the same alignment are not timed again.
    assert costs.seconds(training("network.align=4", "optimizer.lr=0.5")) == pytest.approx(first)
    assert len(calls) == 6


def test_finished_trainings_replace_the_estimate_of_their_cell(drawn: Dataset) -> None:
    one = training()
    other = replace(one, recipe=replace(one.recipe, fit=replace(one.recipe.fit, seed=7)))
    costs = Costs([one], drawn)
    results = {
        t.key: Result(t.key, "f", dict.fromkeys(MEASURES), 1, 1, 1, seconds)
        for t, seconds in ((one, 100.0), (other, 200.0))
    }
    costs.add(results, {t.key: t for t in (one, other)})
    again = replace(one, recipe=replace(one.recipe, fit=replace(one.recipe.fit, seed=9)))
    assert costs.seconds(again) == np.mean([100.0, 200.0])
    assert costs.seconds(training("fit.epochs=3")) < 100
