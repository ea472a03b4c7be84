"""What a study amounts to: each person in each condition, conditions over people, synchrony."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.evaluate.bootstrap import LEVEL, group_weights
from mien.intervals import UNDEFINED, Estimate
from mien.sessions.effective import MeanOf
from mien.sessions.synchrony import on_grid, synchrony
from mien.sessions.units import Columns, unit_means, wide_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.sessions.levels import Levels
    from mien.sessions.synchrony import SynchronyOptions
    from mien.sessions.units import Scored

SUMMARISED = ("p", "labelled", "log_odds", "change")
"""Measures of people that are summarised over participants."""
COUNTS = ("frames", "frames_with_face", "frames_used")
FRACTIONS = {
    "fraction_face": "frames", "fraction_good": "frames_with_face",
    "fraction_unsure": "frames_used", "fraction_excluded": "frames",
}  # fmt: skip
"""Fractions by the count that each is of."""
Person = tuple[str, str]
"""A participant's id and a condition."""


class People:
    """Gathers each person in each condition, over sessions.

    Args:
        levels: makes the columns of participants.
        conditions: names of the conditions.
    """

    def __init__(self, levels: Levels, conditions: Sequence[str]) -> None:
        self._levels, self._conditions = levels, list(conditions)
        self._first: dict[str, Scored] = {}
        self._units: dict[Person, list[Columns]] = defaultdict(list)
        self._odds: dict[Person, list[list[MeanOf]]] = defaultdict(list)
        self._bases: dict[Person, list[tuple[MeanOf, ...]]] = defaultdict(list)

    def add(self, scored: Scored) -> None:
        """Add a recording."""
        one = scored.one
        self._first.setdefault(one.participant.id, scored)
        n = len(one.time_n)
        columns = unit_means(
            scored, np.arange(n), one.condition_n.astype(np.int64), len(self._conditions)
        )
        for code in np.unique(one.condition_n):
            key = (one.participant.id, self._conditions[code])
            here = {name: float(values[code]) for name, values in columns.items()}
            here["seconds"] = here["frames"] * one.step_s
            self._units[key].append(here)
            mine = scored.used_n & (one.condition_n == code)
            odds = np.ascontiguousarray(scored.odds_nk[mine].T)
            self._odds[key].append([MeanOf.of(column) for column in odds])
            self._bases[key].append(scored.base.means)

    def table(self) -> Any:
        """Return a row for each person and condition, as a pyarrow.Table.

        The change's interval has the uncertainty of both means, each by its effective size.
        """
        import pyarrow as pa

        tables = [
            wide_table(self._levels.person(self._first[key[0]]) | self._row(key))
            for key in self._units
        ]
        return pa.concat_tables(tables)

    def _row(self, key: Person) -> Columns:
        parts = self._units[key]
        one = self._first[key[0]].one
        row: Columns = {"condition": [key[1] or None], "sessions": [len(parts)]}
        row["seconds"] = np.array([sum(part["seconds"] for part in parts)])
        row |= {name: [int(sum(part[name] for part in parts))] for name in COUNTS}
        for name, by in FRACTIONS.items():
            row[name] = np.array([_weighted(parts, name, by)])
        for k, label in enumerate(one.labels):
            for measure in ("p", "labelled"):
                name = f"{measure}_{label}"
                row[name] = np.array([_weighted(parts, name, "frames_used")])
            odds = MeanOf.pooled([means[k] for means in self._odds[key]])
            change = self._change(key, k)
            row[f"log_odds_{label}"] = np.array([odds.mean])
            row[f"change_{label}"] = np.array([change.value])
            row[f"change_low_{label}"] = np.array([change.low])
            row[f"change_high_{label}"] = np.array([change.high])
            row[f"effective_{label}"] = np.array([odds.effective])
        return row

    def _change(self, key: Person, k: int) -> Estimate:
        """Return the change from rest over the sessions that have a baseline."""
        pairs = [
            (odds[k], base[k])
            for odds, base in zip(self._odds[key], self._bases[key], strict=True)
            if base and odds[k].n
        ]
        if not pairs:
            return UNDEFINED
        # Each session's frames are compared with that session's rest, so rests weigh as frames do.
        weights = [odds.n for odds, _ in pairs]
        rest = [MeanOf(b.mean, n, b.effective, b.variance)
                for (_, b), n in zip(pairs, weights, strict=True)]  # fmt: skip
        return MeanOf.pooled([odds for odds, _ in pairs]).minus(MeanOf.pooled(rest))


def _weighted(parts: Sequence[Columns], name: str, by: str) -> float:
    weight = sum(part[by] for part in parts)
    known = sum(part[name] * part[by] for part in parts if part[by])
    return float(known / weight) if weight else float("nan")


def condition_tables(
    people: Any, labels: Sequence[str], *, resamples: int, seed: int
) -> tuple[Any, Any]:
    """Return means of conditions over participants, and differences of conditions.

    Every participant counts once. Intervals are of the cluster bootstrap: whole participants are
    resampled (Field and Welsh 2007); with fewer than two there is none. Differences are of the
    participants who are in both conditions.

    Args:
        people: of `People.table`.
        labels: the model's labels.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    names = [name or "" for name in people["condition"].to_pylist()]
    conditions = list(dict.fromkeys(names))
    who = people["participant"].to_pylist()
    everyone = {person: number for number, person in enumerate(dict.fromkeys(who))}
    of_condition = np.array([conditions.index(name) for name in names])
    of_person = np.array([everyone[person] for person in who])
    weights_rn = np.stack(list(group_weights(np.arange(len(everyone)), resamples, seed)))
    means: list[Columns] = []
    differences: list[Columns] = []
    for label in labels:
        for measure in SUMMARISED:
            # Rows are participants, columns conditions; nan where somebody was not in one.
            grid = np.full((len(everyone), len(conditions)), np.nan)
            values = people[f"{measure}_{label}"].to_numpy()
            grid[of_person, of_condition] = values
            what = {"expression": label, "measure": measure}
            for c, name in enumerate(conditions):
                row = {"condition": name or None, **what}
                means.append(row | _estimated(grid[:, c], weights_rn))
            for a, b in combinations(range(len(conditions)), 2):
                row = {"condition": conditions[a] or None, "minus": conditions[b] or None, **what}
                differences.append(row | _estimated(grid[:, a] - grid[:, b], weights_rn))
    return _table(means), _table(differences)


def _estimated(x_n: NDArray[np.float64], weights_rn: NDArray[np.float64]) -> Columns:
    """Return the mean over participants and its bootstrap interval."""
    known = ~np.isnan(x_n)
    n = int(known.sum())
    if not n:
        return {"participants": 0, "mean": None, "low": None, "high": None}
    low = high = None
    if n > 1:
        weights = weights_rn[:, known]
        totals = weights.sum(axis=1)
        draws = (weights[totals > 0] @ x_n[known]) / totals[totals > 0]
        low, high = map(float, np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return {"participants": n, "mean": float(x_n[known].mean()), "low": low, "high": high}


def _table(rows: list[Columns]) -> Any:
    import pyarrow as pa

    kinds = {"participants": pa.int64(), "mean": pa.float64(), "low": pa.float64(),
             "high": pa.float64()}  # fmt: skip
    if not rows:
        return None
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in ("mean", "low", "high"):
            columns[name] = np.array([np.nan if v is None else v for v in values])
        else:
            columns[name] = pa.array(values, kinds.get(name, pa.string()))
    return wide_table(columns)


def baseline_table(scored: Sequence[Scored], levels: Levels) -> Any:
    """Return a row for each recording and label: log-odds at rest with interval, or why not."""
    import pyarrow as pa

    tables = []
    for each in scored:
        for k, label in enumerate(each.one.labels):
            rest = each.base.means[k] if each.base.means else MeanOf(np.nan, 0, 0.0, np.nan)
            columns = levels.about(each, 1) | {
                "expression": [label],
                "baseline": [each.base.origin],
                "frames": [rest.n],
                "effective": np.array([rest.effective]),
                "log_odds": np.array([rest.mean]),
                "low": np.array([rest.mean - rest.half]),
                "high": np.array([rest.mean + rest.half]),
            }
            tables.append(wide_table(columns))
    return pa.concat_tables(tables)


def synchrony_table(scored: Sequence[Scored], options: SynchronyOptions) -> Any:
    """Return a row for each session, pair of participants and label; None without a pair.

    Series are log-odds; what is left out for one of the two counts as not seen.
    """
    by_session: dict[str, list[Scored]] = defaultdict(list)
    for each in scored:
        by_session[each.one.session.id].append(each)
    rows: list[Columns] = []
    for session, several in by_session.items():
        for first, second in combinations(several, 2):
            for k, label in enumerate(first.one.labels):
                series = [
                    on_grid(
                        each.one.time_n, np.where(each.used_n, each.odds_nk[:, k], np.nan),
                        options.step_s,
                    )
                    for each in (first, second)
                ]  # fmt: skip
                found = synchrony(series[0], series[1], options)
                rows.append({
                    "session": session, "participant": first.one.participant.id,
                    "with": second.one.participant.id, "expression": label,
                    **{name: getattr(found, name) for name in found.__slots__},
                })  # fmt: skip
    if not rows:
        return None
    return wide_table({
        name: np.array([row[name] for row in rows])
        if isinstance(rows[0][name], float) else [row[name] for row in rows]
        for name in rows[0]
    })  # fmt: skip


def people_wide(people: Any, labels: Sequence[str], variables: Sequence[str]) -> Any:
    """Return a row for each participant; a measure of each condition is a column of its own."""
    names = [name or "none" for name in people["condition"].to_pylist()]
    who = people["participant"].to_pylist()
    rows: dict[str, Columns] = {}
    shown = [f"{measure}_{label}" for label in labels for measure in SUMMARISED]
    shown = [*COUNTS, "fraction_face", "fraction_good", "fraction_unsure", *shown]
    everything = {name: people[name].to_pylist() for name in (*shown, *variables)}
    for n, (person, condition) in enumerate(zip(who, names, strict=True)):
        row = rows.setdefault(person, {name: everything[name][n] for name in variables})
        row |= {f"{name}.{condition}": everything[name][n] for name in shown}
    import pyarrow as pa

    columns: Columns = {"participant": list(rows)}
    for name in variables:
        columns[name] = pa.array([row[name] for row in rows.values()], people[name].type)
    for condition in dict.fromkeys(names):
        for name in shown:
            values = [row.get(f"{name}.{condition}") for row in rows.values()]
            columns[f"{name}.{condition}"] = pa.array(values, pa.float64())
    return pa.table(columns)
