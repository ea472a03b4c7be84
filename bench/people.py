"""Measures whether the same person is found again, on sessions of known ground truth.

    python bench/people.py --portraits DIR [--first 200] [--seeds 8] [--descriptor dlib|own|both]
    python bench/people.py --drawn 3,5,12,28
    python bench/people.py --portraits DIR --speed --seeds 5

A session is six videos of four people: gaps, cuts, crossings, other lights and sizes. The people
are portraits, in folders DIR/PERSON of one or more photos each (of more than four people, each
session takes other four), or drawn faces of the given seeds (examples/draw_study.py has seeds that
the detector finds). Photos
of Barack Obama and Joe Biden are in the source archive of a package on PyPI (tests/test_images):
pip download --no-deps --no-binary :all: face_recognition==1.3.0; the two portraits of examples/
make four people. The licence of those photos was not verified.

Compare pairwise F1 of tracks, with 95% intervals (bootstrap over sessions), and faces of one frame
that were joined (must be 0). Tracks that are missed are listed. --speed compares
frame rates with and without collecting and embedding faces, in turns, and prints paired ratios.
The same photo in another light is easier than another day: nothing here is accuracy on people.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import Reader
from mien.model.descriptor import AppearanceDescriptor, DlibDescriptor, FaceDescriptor
from mien.video.people.collect import FaceCollector
from mien.video.people.file import UNKNOWN
from mien.video.people.find import find_people
from mien.video.people.parts import TrackPart
from mien.video.people.seen import TrackKey, seen_in
from mien.video.people.stretches import TrackFace
from mien.video.sources import list_sources
from mien.video.table import TableSink
from people_scenes import SECONDS, Head, Session, drawing, make_session, portrait


@dataclass
class Read:
    """What mien reads of a session: rows, and the faces of its tracks by descriptor."""

    table: Any
    faces: dict[str, dict[TrackPart, TrackFace]]


def read_session(reader: Reader, session: Session, descriptors: list[FaceDescriptor]) -> Read:
    import pyarrow as pa

    tables = []
    faces: dict[str, dict[TrackPart, TrackFace]] = {d.name: {} for d in descriptors}
    run = reader.session()
    for source in list_sources(session.paths):
        rows = TableSink(run.labels)
        collectors = [FaceCollector(source.name, d) for d in descriptors]
        run.run(source, [rows, *collectors])
        tables.append(rows.table.arrow)
        for descriptor, collector in zip(descriptors, collectors, strict=True):
            faces[descriptor.name].update(collector.faces)
    return Read(pa.concat_tables(tables), faces)


Shown = dict[TrackKey, list[tuple[float, int]]]
"""Times of the detected faces of each track, and the person whom the video shows there."""
MIN_ROWS = 3
"""A person who has fewer detected faces in a track is not counted: where one covers another."""


def who_is(table: Any, session: Session) -> Shown:
    """Return whom each detected face shows."""
    shown: Shown = defaultdict(list)
    names = ("source", "frame", "time_s", "track", "origin", "x0", "y0", "x1", "y1")
    columns = [table[name].to_pylist() for name in names]
    for source, frame, time_s, track, origin, *box in zip(*columns, strict=True):
        if track is None or origin != "detected":
            continue
        centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        near = {
            who: float(np.hypot(*(centre - (b[:2] + b[2:]) / 2)) / (b[2] - b[0]))
            for who, b in session.truth[source][frame].items()
        }
        best = min(near, key=lambda who: near[who], default=None)
        if best is not None and near[best] < 0.5:
            shown[TrackKey(source, track)].append((time_s, best))
    return shown


def units(shown: Shown) -> dict[tuple[TrackKey, int], list[float]]:
    """Return the times at which each track shows each person."""
    found: dict[tuple[TrackKey, int], list[float]] = defaultdict(list)
    for key, moments in shown.items():
        for time_s, who in moments:
            found[key, who].append(time_s)
    return {unit: times for unit, times in found.items() if len(times) >= MIN_ROWS}


@dataclass
class Score:
    """What was found of one session or, by `+`, of several.

    Attributes:
        pairs_s3: pairs of tracks of each session: joined rightly, joined wrongly, not joined.
        tracks: number of tracks by person.
        unknown: how many of those are unknown.
        same_frame: frames in which two faces are of one person.
        people: number of people found in each session.
        missed: a line for each track that is not with most tracks of its person.
    """

    pairs_s3: list[tuple[int, int, int]] = field(default_factory=list)
    tracks: int = 0
    unknown: int = 0
    same_frame: int = 0
    people: list[int] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def __add__(self, other: Score) -> Score:
        return Score(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Score)))

    def __str__(self) -> str:
        pairs = np.array(self.pairs_s3)
        drawn = np.random.default_rng(0).integers(len(pairs), size=(2000, len(pairs)))
        words = []
        for name, measure in (("F1", f1), ("precision", precision), ("recall", recall)):
            low, high = np.percentile(measure(pairs[drawn].sum(axis=1)), (2.5, 97.5))
            words.append(f"{name} {measure(pairs.sum(axis=0)):.3f} ({low:.3f} to {high:.3f})")
        return (f"{', '.join(words)}; lowest F1 of a session {f1(pairs).min():.3f}; {self.tracks} "
                f"tracks by person, {self.unknown} unknown, frames with two faces of one person: "
                f"{self.same_frame}, people found {self.people}")  # fmt: skip


def f1(pairs_n3: NDArray[np.int64]) -> NDArray[np.float64]:
    hits, false, missed = np.moveaxis(pairs_n3, -1, 0)
    return np.asarray(2 * hits / np.maximum(2 * hits + false + missed, 1))


def precision(pairs_n3: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(pairs_n3[..., 0] / np.maximum(pairs_n3[..., 0] + pairs_n3[..., 1], 1))


def recall(pairs_n3: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(pairs_n3[..., 0] / np.maximum(pairs_n3[..., 0] + pairs_n3[..., 2], 1))


def score(read: Read, shown: Shown, descriptor: FaceDescriptor) -> Score:
    """Return how well the tracks of one session are joined."""
    found = find_people(seen_in(read.table), read.faces[descriptor.name], descriptor)
    people = found.people
    when = units(shown)
    where = {
        unit: Counter(people.place_of(*unit[0], time_s) for time_s in times).most_common(1)[0][0]
        for unit, times in when.items()
    }
    hits = false = missed = 0
    for one, other in itertools.combinations(where, 2):
        joined = where[one] == where[other] != UNKNOWN
        same = one[1] == other[1]
        hits += joined and same
        false += joined and not same
        missed += same and not joined
    places, place_n = people.places_of_rows(read.table)
    rows = zip(read.table["source"].to_pylist(), read.table["frame"].to_pylist(), place_n,
               strict=True)  # fmt: skip
    counts = Counter((*row[:2], places[row[2]]) for row in rows if row[2] >= 0)
    return Score(
        [(hits, false, missed)],
        len(where),
        sum(place == UNKNOWN for place in where.values()),
        sum(n > 1 for (_, _, place), n in counts.items() if place != UNKNOWN),
        [len(people.people)],
        [*confusions(where, when), *(["faces are too alike"] if found.too_alike else [])],
    )


def confusions(
    where: dict[tuple[TrackKey, int], str], when: dict[tuple[TrackKey, int], list[float]]
) -> list[str]:
    """Return a line for each track that is not where most tracks of its person are."""
    places: dict[int, Counter[str]] = defaultdict(Counter)
    for (_, who), place in where.items():
        places[who][place] += 1
    return [
        f"{Path(key.source).name} track {key.track} person {who}, {when[key, who][0]:.1f} to "
        f"{when[key, who][-1]:.1f} s: {place}"
        for (key, who), place in where.items()
        if place != places[who].most_common(1)[0][0]
    ]


def similarities(read: Read, shown: Shown, descriptor: FaceDescriptor) -> str:
    """Return quantiles of the similarity of parts of tracks of one person and of two."""
    faces = {}
    for part, face in read.faces[descriptor.name].items():
        votes = Counter(who for time_s, who in shown.get(part.key, []) if part.holds(time_s))
        if len(votes) == 1 and votes.total() >= MIN_ROWS:
            faces[part] = (next(iter(votes)), face.vector_d)
    groups: dict[bool, list[float]] = {True: [], False: []}
    for (one, first), (other, second) in itertools.combinations(faces.values(), 2):
        groups[one == other].append(float(first @ second))
    words = []
    for same, values in groups.items():
        low, middle, high = np.quantile(values, (0.01, 0.5, 0.99))
        words.append(f"{'one person' if same else 'two people'} {low:.3f} {middle:.3f} {high:.3f}")
    return "similarity (1%, 50%, 99%): " + "; ".join(words)


def load(args: argparse.Namespace) -> list[list[Head]]:
    if args.drawn:
        return [[drawing(int(seed), n) for n in range(3)] for seed in args.drawn.split(",")]
    if args.portraits is None:
        sys.exit("give --portraits DIR with four people, or --drawn; see the top of this file")
    folders = sorted(path for path in args.portraits.iterdir() if path.is_dir())
    return [[portrait(p) for p in sorted(folder.iterdir())] for folder in folders]


def four(people: list[list[Head]], seed: int) -> list[list[Head]]:
    """Return four of the people, others for the next seed."""
    some = list(itertools.combinations(people, 4))
    return list(some[seed % len(some)])


def speed(reader: Reader, session: Session, descriptors: list[FaceDescriptor], pairs: int) -> None:
    """Print paired ratios of frame rates, with and without faces."""
    run = reader.session()

    def seconds(descriptor: FaceDescriptor | None) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        for source in list_sources(session.paths):
            sinks = [] if descriptor is None else [FaceCollector(source.name, descriptor)]
            run.run(source, [TableSink(run.labels), *sinks])
        return time.perf_counter() - wall, time.process_time() - cpu

    seconds(None)
    for descriptor in descriptors:
        ratios = []
        for turn in range(pairs):
            order = (None, descriptor) if turn % 2 else (descriptor, None)
            found = {one is None: seconds(one) for one in order}
            ratios.append([a / b for a, b in zip(found[False], found[True], strict=True)])
        wall, cpu = ([r[k] for r in ratios] for k in (0, 1))
        print(f"{descriptor.name}: wall-clock x{statistics.median(wall):.3f} "
              f"({min(wall):.3f} to {max(wall):.3f}), CPU x{statistics.median(cpu):.3f} "
              f"({min(cpu):.3f} to {max(cpu):.3f}), {pairs} pairs")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--portraits", type=Path)
    parser.add_argument("--drawn", metavar="SEEDS")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--descriptor", choices=("dlib", "own", "both"), default="both")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--keep", type=Path, help="folder for the videos")
    args = parser.parse_args()
    people = load(args)
    reader = Reader(threads=1)
    kinds: dict[str, Callable[..., FaceDescriptor]] = {
        "dlib": DlibDescriptor.load, "own": AppearanceDescriptor.load,
    }  # fmt: skip
    names = list(kinds) if args.descriptor == "both" else [args.descriptor]
    descriptors = [kinds[name](threads=1) for name in names]
    scores: dict[str, list[Score]] = {d.name: [] for d in descriptors}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        for seed in range(args.first, args.first + (1 if args.speed else args.seeds)):
            session = make_session(folder, four(people, seed), seed, args.seconds)
            if args.speed:
                speed(reader, session, descriptors, args.seeds)
                break
            read = read_session(reader, session, descriptors)
            truth = who_is(read.table, session)
            mixed = sum(len({who for _, who in moments}) > 1 for moments in truth.values())
            print(f"session {seed}: {len(truth)} tracks, {mixed} show two people or more")
            for descriptor in descriptors:
                one = score(read, truth, descriptor)
                scores[descriptor.name].append(one)
                own = f1(np.array(one.pairs_s3))[0]
                print(f"  {descriptor.name}: F1 {own:.3f}, pairs {one.pairs_s3[0]}")
                print(f"    {similarities(read, truth, descriptor)}")
                print(*(f"    not with most of its person: {line}\n" for line in one.missed),
                      sep="", end="", flush=True)  # fmt: skip
    for name, some in scores.items():
        if some:
            print(f"{name}, {len(some)} sessions: {sum(some[1:], some[0])}")


if __name__ == "__main__":
    main()
