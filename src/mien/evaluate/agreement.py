"""Agreement of several codings of the same videos: read `measure_agreement` first.

Codings are sampled on a grid of times; kappa and alpha then compare moments, the event score
compares segments. All figures are sums over clusters (participants, or blocks of time), so that a
bootstrap resample is a vector of counts: moments of one video are alike, and an interval that took
them for independent would be far too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.codings.coding import MISSING
from mien.errors import DataError
from mien.evaluate.bootstrap import LEVEL, RESAMPLES
from mien.evaluate.coefficients import (
    cohen_kappa,
    coincidences,
    fleiss_kappa,
    krippendorff_alpha,
    rater_pairs,
    specific_agreement,
)
from mien.evaluate.events import count_events
from mien.intervals import UNDEFINED, Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mien.codings.units import Unit

BLOCK_S = 30.0
"""Seconds of a block where there are too few participants to resample."""
MIN_PARTICIPANTS = 5
"""Participants from which on they, and not blocks of time, are resampled."""
ONE_SIDED = 0.9
"""Fraction of one label from which on kappa is low although coders agree: a warning says so."""
STEP_S = 0.04
"""Seconds between two moments that are compared: a frame at 25 frames a second."""
TOLERANCE_S = 0.5
"""Seconds by which start and end of an event may differ."""


@dataclass(frozen=True, slots=True)
class LabelAgreement:
    """Agreement on one label.

    Attributes:
        label: its name.
        seconds: coded with it, by each coder, where all coded.
        specific: specific agreement: of the moments that either coder gives this label, counted
            for each coder, the fraction where both do (Cicchetti and Feinstein 1990).
        event_f1: 2 * matched / (events of both coders); start and end within the tolerance.
        events: number of events of each coder.
    """

    label: str
    seconds: tuple[float, ...]
    specific: Estimate
    event_f1: Estimate
    events: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two coders.

    Attributes:
        coders: their names.
        seconds: coded by both.
        accuracy: fraction of moments with the same label.
        kappa: Cohen's (1960).
        event_f1: over all labels.
        labels: one entry for each label.
        confusion_kk: float64 [k, k], seconds; rows are the first coder's labels.
    """

    coders: tuple[str, str]
    seconds: float
    accuracy: Estimate
    kappa: Estimate
    event_f1: Estimate
    labels: tuple[LabelAgreement, ...]
    confusion_kk: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of all coders.

    Attributes:
        coders: names, in the order given.
        labels: that any coder used, sorted.
        units: names of what was compared.
        videos: number of files that these are tiers of.
        seconds: within the span that all coders coded.
        coded: fraction of that span which each coder coded.
        pairs: one entry for each pair of coders.
        fleiss: Fleiss' kappa (1971), over moments that all coders coded.
        alpha: Krippendorff's alpha for nominal data (2004), over moments that two or more coded.
        clusters: what the intervals resample, 'participants' or 'blocks of 30 s', and their number.
        step_s: seconds between two moments.
        tolerance_s: seconds by which starts and ends of events may differ.
        warnings: what a reader of the figures has to know.
    """

    coders: tuple[str, ...]
    labels: tuple[str, ...]
    units: tuple[str, ...]
    videos: int
    seconds: float
    coded: tuple[float, ...]
    pairs: tuple[PairAgreement, ...]
    fleiss: Estimate
    alpha: Estimate
    clusters: tuple[str, int]
    step_s: float
    tolerance_s: float
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types; null for what is not defined."""
        return {
            "coders": list(self.coders),
            "labels": list(self.labels),
            "units": list(self.units),
            "seconds": round(self.seconds, 3),
            "coded": {c: round(f, 6) for c, f in zip(self.coders, self.coded, strict=True)},
            "intervals": {"level": LEVEL, "over": self.clusters[0], "n": self.clusters[1]},
            "step_s": self.step_s,
            "tolerance_s": self.tolerance_s,
            "fleiss_kappa": self.fleiss.to_dict(),
            "krippendorff_alpha": self.alpha.to_dict(),
            "pairs": [_pair_dict(pair) for pair in self.pairs],
            "warnings": list(self.warnings),
        }


def _pair_dict(pair: PairAgreement) -> dict[str, Any]:
    return {
        "coders": list(pair.coders),
        "seconds": round(pair.seconds, 3),
        "accuracy": pair.accuracy.to_dict(),
        "cohen_kappa": pair.kappa.to_dict(),
        "event_f1": pair.event_f1.to_dict(),
        "confusion_seconds": np.round(pair.confusion_kk, 3).tolist(),
        "labels": {
            one.label: {
                "seconds": [round(s, 3) for s in one.seconds],
                "specific_agreement": one.specific.to_dict(),
                "event_f1": one.event_f1.to_dict(),
                "events": list(one.events),
            }
            for one in pair.labels
        },
    }


@dataclass(frozen=True, slots=True)
class _Samples:
    """Every unit on its grid: label numbers int64 [n, c], and the cluster of each moment."""

    numbers_nc: NDArray[np.int64]
    clusters_n: NDArray[np.int64]
    clusters: int


def measure_agreement(
    coders: Sequence[str],
    units: Sequence[Unit],
    *,
    step_s: float = STEP_S,
    tolerance_s: float = TOLERANCE_S,
    seed: int = 0,
) -> Agreement:
    """Return how far codings of the same videos agree, with 95% bootstrap intervals.

    Only the span that all coders of a unit coded is compared, from the latest first segment to
    the earliest last one. The intervals resample videos where there are at least 5 of them, each
    with all its tiers, and blocks of 30 s otherwise.

    Args:
        coders: two or more different names.
        units: at least one; each with a tier for every coder.
        step_s: seconds between two moments, above 0.
        tolerance_s: seconds by which starts and ends of events may differ, 0 or more.
        seed: of the resampling.

    Raises:
        DataError: no unit has a time that all coders coded.
    """
    labels = tuple(
        sorted({s.label for unit in units for tier in unit.tiers for s in tier.segments})
    )
    spans = [_common_span(unit) for unit in units]
    usable = [place for place, (start, end) in enumerate(spans) if end - start >= step_s]
    if not usable:
        raise DataError(
            f"the codings of {units[0].name} have no time in common: {_spans_text(units[0])}",
            hint="are both of the same video, in seconds from its start?",
        )
    kept = [(units[place], spans[place]) for place in usable]
    videos = len({unit.video or unit.name for unit, _ in kept})
    by_unit = videos >= MIN_PARTICIPANTS
    samples, first_cluster = _sample(kept, labels, step_s, by_unit=by_unit)
    weights = _weights(samples.clusters, seed)
    events = [
        count_events(unit, span, labels, pair, tolerance_s, _cluster_of(span, first, by_unit))
        for pair in combinations(range(len(coders)), 2)
        for (unit, span), first in zip(kept, first_cluster, strict=True)
    ]
    pairs = []
    for number, pair in enumerate(combinations(range(len(coders)), 2)):
        found = events[number * len(kept) : (number + 1) * len(kept)]
        pairs.append(_pair(coders, labels, pair, samples, found, weights, step_s))
    table = coincidences(samples.numbers_nc, len(labels), samples.clusters_n, samples.clusters)
    fleiss = rater_pairs(samples.numbers_nc, len(labels), samples.clusters_n, samples.clusters)
    coded = (samples.numbers_nc != MISSING).mean(axis=0)
    skipped = [unit.name for place, unit in enumerate(units) if place not in usable]
    return Agreement(
        coders=tuple(coders),
        labels=labels,
        units=tuple(unit.name for unit, _ in kept),
        videos=videos,
        seconds=len(samples.numbers_nc) * step_s,
        coded=tuple(map(float, coded)),
        pairs=tuple(pairs),
        fleiss=_estimate(fleiss_kappa, fleiss, weights),
        alpha=_estimate(krippendorff_alpha, table, weights),
        clusters=("participants" if by_unit else f"blocks of {BLOCK_S:g} s", samples.clusters),
        step_s=step_s,
        tolerance_s=tolerance_s,
        warnings=tuple(_warnings(skipped, pairs, samples, by_unit=by_unit)),
    )


def _common_span(unit: Unit) -> tuple[float, float]:
    starts, ends = zip(*(tier.span_s for tier in unit.tiers), strict=True)
    return max(starts), min(ends)


def _spans_text(unit: Unit) -> str:
    return ", ".join("{:g} to {:g} s".format(*tier.span_s) for tier in unit.tiers)


def _sample(
    kept: Sequence[tuple[Unit, tuple[float, float]]],
    labels: tuple[str, ...],
    step_s: float,
    *,
    by_unit: bool,
) -> tuple[_Samples, list[int]]:
    """Return all moments, and the number of each unit's first cluster."""
    numbers, clusters, firsts, total = [], [], [], 0
    of_video: dict[str, int] = {}
    for unit, (start, end) in kept:
        # In the middle of each step, so that no moment falls on a border by rounding.
        count = int((end - start) / step_s + 1e-9)
        times = start + (np.arange(count, dtype=np.float64) + 0.5) * step_s
        numbers.append(np.stack([tier.numbers_at(times, labels) for tier in unit.tiers], axis=1))
        block = np.zeros(len(times), np.int64)
        if not by_unit:
            block = ((times - start) // BLOCK_S).astype(np.int64)
        # Tiers of one video are of the same minutes, often of the same person: one cluster.
        first = of_video.setdefault(unit.video or unit.name, total) if by_unit else total
        clusters.append(first + block)
        firsts.append(first)
        total = max(total, first + int(block.max(initial=0)) + 1)
    return _Samples(np.concatenate(numbers), np.concatenate(clusters), total), firsts


def _cluster_of(span: tuple[float, float], first: int, by_unit: bool) -> Callable[[float], int]:
    """Return a function from an event's start to its cluster."""
    last = max(0, int((span[1] - span[0] - 1e-9) // BLOCK_S))

    def cluster(start_s: float) -> int:
        return first if by_unit else first + min(last, int((start_s - span[0]) // BLOCK_S))

    return cluster


def _pair(
    coders: Sequence[str],
    labels: tuple[str, ...],
    pair: tuple[int, int],
    samples: _Samples,
    events: Sequence[NDArray[np.float64]],
    weights: NDArray[np.float64],
    step_s: float,
) -> PairAgreement:
    a_n, b_n = samples.numbers_nc[:, pair[0]], samples.numbers_nc[:, pair[1]]
    k, both = len(labels), (a_n != MISSING) & (b_n != MISSING)
    flat = (samples.clusters_n[both] * k + a_n[both]) * k + b_n[both]
    counts = np.bincount(flat, minlength=samples.clusters * k * k).astype(np.float64)
    confusion = counts.reshape(samples.clusters, k, k)
    # [cluster, label, (events of first, of second, matched)]
    found = np.zeros((samples.clusters, k, 3))
    for clusters_k3 in events:
        found[: len(clusters_k3)] += clusters_k3
    total = confusion.sum(axis=0) * step_s
    rows = tuple(
        LabelAgreement(
            label=label,
            seconds=(float(total[number].sum()), float(total[:, number].sum())),
            specific=_estimate(partial(specific_agreement, label=number), confusion, weights),
            event_f1=_estimate(_event_f1, found[:, [number]], weights),
            events=(int(found[:, number, 0].sum()), int(found[:, number, 1].sum())),
        )
        for number, label in enumerate(labels)
    )
    return PairAgreement(
        coders=(coders[pair[0]], coders[pair[1]]),
        seconds=float(total.sum()),
        accuracy=_estimate(_accuracy, confusion, weights),
        kappa=_estimate(cohen_kappa, confusion, weights),
        event_f1=_estimate(_event_f1, found, weights),
        labels=rows,
        confusion_kk=total,
    )


def _accuracy(table_kk: NDArray[np.float64]) -> float:
    total = table_kk.sum()
    return float(np.trace(table_kk) / total) if total else float("nan")


def _event_f1(counts_k3: NDArray[np.float64]) -> float:
    first, second, matched = counts_k3.sum(axis=0)
    return float(2 * matched / (first + second)) if first + second else float("nan")


def _weights(clusters: int, seed: int) -> NDArray[np.float64]:
    """Return how often each resample takes each cluster, float64 [resamples, clusters]."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(clusters, np.full(clusters, 1 / clusters), RESAMPLES)
    return drawn.astype(np.float64)


def _estimate(
    figure: Callable[[NDArray[np.float64]], float],
    sums: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> Estimate:
    """Return a figure of the clusters' sums, with the quantiles of its resamples."""
    value = figure(sums.sum(axis=0))
    if np.isnan(value):
        return UNDEFINED
    if len(sums) < 2:
        # One cluster has nothing to be resampled: no interval is better than one of no width.
        return Estimate(value, float("nan"), float("nan"))
    draws = np.array([figure(np.tensordot(w, sums, axes=1)) for w in weights])
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def _warnings(
    skipped: Sequence[str], pairs: Sequence[PairAgreement], samples: _Samples, *, by_unit: bool
) -> list[str]:
    texts = [f"{name}: no time that all coders coded; not compared" for name in skipped]
    if samples.clusters < 2:
        texts.append("less than two blocks of time: no interval can be given")
    elif not by_unit:
        texts.append(
            f"fewer than {MIN_PARTICIPANTS} participants: intervals are over blocks of "
            f"{BLOCK_S:g} s, and say nothing about other participants"
        )
    for pair in pairs:
        names = " and ".join(pair.coders)
        shares = (pair.confusion_kk.sum(axis=0) + pair.confusion_kk.sum(axis=1)) / 2
        if not pair.seconds:
            texts.append(f"{names} coded no moment in common: their agreement is not defined")
        elif shares.max() > ONE_SIDED * pair.seconds:
            label = pair.labels[int(shares.argmax())].label
            texts.append(
                f"{names}: {shares.max() / pair.seconds:.0%} of the time is {label!r}; kappa is "
                "low in such data even where coders agree, so read the labels' own figures"
            )
        for one in pair.labels:
            if min(one.seconds) == 0 < max(one.seconds):
                used, other = pair.coders if one.seconds[0] else pair.coders[::-1]
                texts.append(f"{one.label!r} is used by {used} only, never by {other}")
    return texts
