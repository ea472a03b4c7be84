"""Measures whether the same person is found again, on sessions of known ground truth.

    python bench/people.py [--portraits DIR] [--drawn] [--seeds 3] [--descriptor dlib|own|both]
    python bench/people.py --speed --seeds 5

A session is six videos of four people: gaps, cuts, crossings, other lights and sizes. The people
are portraits, in folders DIR/PERSON of one or more photos each, or drawn faces (--drawn). Photos
of Barack Obama and Joe Biden are in the source archive of a package on PyPI (tests/test_images):
pip download --no-deps --no-binary :all: face_recognition==1.3.0; the two portraits of examples/
make four people. The licence of those photos was not verified.

Compare pairwise F1 of tracks and faces of one frame that were joined (must be 0). --speed compares
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import Reader
from mien.data.drawn import Person, draw_face
from mien.model.descriptor import AppearanceDescriptor, DlibDescriptor, FaceDescriptor
from mien.predict.detectors.mtcnn import Mtcnn
from mien.video.people.collect import FaceCollector, TrackFace
from mien.video.people.file import UNKNOWN
from mien.video.people.find import find_people
from mien.video.people.parts import TrackPart
from mien.video.people.seen import TrackKey, seen_in
from mien.video.sources import list_sources
from mien.video.table import TableSink
from scenes import texture

SIZE, RATE, SECONDS = (960, 540), 15, 16.0
DRAWN = (3, 5, 12, 28)
"""Seeds of drawn people whom the detector finds; see examples/draw_study.py."""
Place = tuple[float, float, float]
"""Centre x, centre y and width of a face, in pixels."""
Script = Callable[[float], dict[int, Place]]
"""Seconds to where each person is; people who are away are absent; later ones are in front."""


@dataclass
class Head:
    """A head with soft edges; `face` is its box in fractions of the cut-out."""

    image: Image.Image
    mask: Image.Image
    face: NDArray[np.float64]


def soft_mask(size: tuple[int, int]) -> Image.Image:
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    inside = np.clip((0.96 - np.hypot(x / 0.92, y)) / 0.08, 0, 1)
    return Image.fromarray((inside * 255).astype(np.uint8))


def portrait(path: Path) -> Head:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    box = Mtcnn(threads=1).detect(pixels).boxes_xyxy[0]
    centre, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    reach = np.array([0.95, 1.05]) * side
    frame = np.round(np.concatenate([centre - reach, centre + reach]))
    image = Image.fromarray(pixels).crop(
        (int(frame[0]), int(frame[1]), int(frame[2]), int(frame[3]))
    )
    face = (box - np.tile(frame[:2], 2)) / np.tile(image.size, 2)
    return Head(image, soft_mask(image.size), face)


def drawing(seed: int, number: int) -> Head:
    rng = np.random.default_rng(seed)
    person = Person.make(rng)
    labels = ("neutral", "happy", "sad")
    rng = np.random.default_rng(seed * 100 + number)
    image = Image.fromarray(draw_face(labels[number % 3], rng, size=240, person=person))
    return Head(image, soft_mask(image.size), np.array([0.2, 0.15, 0.8, 0.92]))


def lit(head: Head, rng: np.random.Generator) -> Head:
    """Return a head in another light, tilted a little."""
    pixels = np.asarray(head.image, np.float32) / 255
    tint = rng.uniform(0.85, 1.1, 3).astype(np.float32)
    slope = np.linspace(1 - rng.uniform(0, 0.3), 1, pixels.shape[1], dtype=np.float32)
    pixels = (pixels ** rng.uniform(0.75, 1.35) * tint * slope[None, :, None]).clip(0, 1) * 255
    turn = float(rng.uniform(-8, 8))
    image = Image.fromarray(pixels.astype(np.uint8)).rotate(turn, Image.Resampling.BICUBIC)
    return Head(image, head.mask.rotate(turn, Image.Resampling.BICUBIC), head.face)


def seat(number: int, time_s: float, width: float = 105.0) -> Place:
    sway = 12 * np.sin(time_s * (1.1 + 0.2 * number) + number)
    return 150 + 220 * number + sway, 270 + 8 * np.sin(time_s * 1.7 + number), width


def with_gap(time_s: float) -> dict[int, Place]:
    """Four seats; each person leaves for 3 s in turn."""
    return {n: seat(n, time_s) for n in range(4) if not 2 + 3 * n <= time_s < 5 + 3 * n}


def crossing(people: Sequence[int]) -> Script:
    """Two people walk across each other, back and forth."""

    def script(time_s: float) -> dict[int, Place]:
        along = 0.5 - 0.5 * np.cos(time_s * np.pi / 5)
        left, right = 150 + 650 * along, 800 - 650 * along
        return {people[0]: (left, 240, 120.0), people[1]: (right, 290, 150.0)}

    return script


def cuts(people: Sequence[int], width: float) -> Script:
    """Every 3 s another two or three people, in other seats."""

    def script(time_s: float) -> dict[int, Place]:
        shot = int(time_s // 3)
        rng = np.random.default_rng(shot + 17)
        order = rng.permutation(people)[: 2 + shot % 2]
        seats = rng.permutation(4)
        return {int(who): seat(int(seats[k]), time_s, width) for k, who in enumerate(order)}

    return script


def alone(time_s: float) -> dict[int, Place]:
    """One person after the other, 4 s each, in the same seat."""
    return {int(time_s // 4) % 4: seat(1, time_s, 190.0)}


def scripts() -> list[Script]:
    return [with_gap, crossing((0, 1)), cuts(range(4), 110.0), alone, crossing((2, 3)),
            cuts(range(4), 62.0)]  # fmt: skip


@dataclass
class Session:
    """Videos of one session, with the faces that each frame shows."""

    paths: list[Path]
    truth: dict[str, list[dict[int, NDArray[np.float64]]]] = field(default_factory=dict)


def make_session(folder: Path, people: list[list[Head]], seed: int, seconds: float) -> Session:
    session = Session([folder / f"session{seed}_{n}.mp4" for n in range(6)])
    for number, (path, script) in enumerate(zip(session.paths, scripts(), strict=True)):
        rng = np.random.default_rng(seed * 10 + number)
        heads = [lit(some[(seed + number) % len(some)], rng) for some in people]
        session.truth[str(path)] = write_video(path, script, heads, seed * 10 + number, seconds)
    return session


def write_video(
    path: Path, script: Script, heads: list[Head], seed: int, seconds: float
) -> list[dict[int, NDArray[np.float64]]]:
    background = texture(seed, SIZE)
    truth = []
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index in range(round(seconds * RATE)):
            canvas, boxes = background.copy(), {}
            for who, (x, y, width) in script(index / RATE).items():
                head = heads[who]
                full = round(width / (head.face[2] - head.face[0]))
                size = (full, round(full * head.image.height / head.image.width))
                corner = (round(x - size[0] / 2), round(y - size[1] / 2))
                small = head.image.resize(size, Image.Resampling.LANCZOS)
                canvas.paste(small, corner, head.mask.resize(size))
                boxes[who] = np.tile(corner, 2) + head.face * np.tile(size, 2)
            truth.append(boxes)
            frame = av.VideoFrame.from_ndarray(np.asarray(canvas), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return truth


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
    """Pairs of tracks: joined rightly, joined wrongly, not joined."""

    hits: int = 0
    false: int = 0
    missed: int = 0
    tracks: int = 0
    unknown: int = 0
    same_frame: int = 0
    people: list[int] = field(default_factory=list)

    def add(self, read: Read, shown: Shown, descriptor: FaceDescriptor) -> None:
        people = find_people(seen_in(read.table), read.faces[descriptor.name], descriptor).people
        where = {
            unit: Counter(people.place_of(*unit[0], time_s) for time_s in times).most_common(1)[0][
                0
            ]
            for unit, times in units(shown).items()
        }
        for one, other in itertools.combinations(where, 2):
            joined = where[one] == where[other] != UNKNOWN
            same = one[1] == other[1]
            self.hits += joined and same
            self.false += joined and not same
            self.missed += same and not joined
        places, place_n = people.places_of_rows(read.table)
        rows = zip(read.table["source"].to_pylist(), read.table["frame"].to_pylist(), place_n,
                   strict=True)  # fmt: skip
        counts = Counter((*row[:2], places[row[2]]) for row in rows if row[2] >= 0)
        self.same_frame += sum(n > 1 for (_, _, place), n in counts.items() if place != UNKNOWN)
        self.tracks += len(where)
        self.unknown += sum(place == UNKNOWN for place in where.values())
        self.people.append(len(people.people))

    def __str__(self) -> str:
        precision = self.hits / max(self.hits + self.false, 1)
        recall = self.hits / max(self.hits + self.missed, 1)
        f1 = 2 * self.hits / max(2 * self.hits + self.false + self.missed, 1)
        return (f"pairwise F1 {f1:.3f} (precision {precision:.3f}, recall {recall:.3f}), "
                f"{self.tracks} tracks by person, {self.unknown} unknown, frames with two faces "
                f"of one person: {self.same_frame}, people found {self.people}")  # fmt: skip


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
        return [[drawing(seed, n) for n in range(3)] for seed in DRAWN]
    if args.portraits is None:
        sys.exit("give --portraits DIR with four people, or --drawn; see the top of this file")
    folders = sorted(path for path in args.portraits.iterdir() if path.is_dir())
    return [[portrait(p) for p in sorted(folder.iterdir())] for folder in folders][:4]


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
    parser.add_argument("--drawn", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
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
    scores = {d.name: Score() for d in descriptors}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        for seed in range(args.first, args.first + (1 if args.speed else args.seeds)):
            session = make_session(folder, people, seed, args.seconds)
            if args.speed:
                speed(reader, session, descriptors, args.seeds)
                break
            read = read_session(reader, session, descriptors)
            truth = who_is(read.table, session)
            mixed = sum(len({who for _, who in moments}) > 1 for moments in truth.values())
            print(f"session {seed}: {len(truth)} tracks, {mixed} show two people or more")
            for descriptor in descriptors:
                one = Score()
                for score in (one, scores[descriptor.name]):
                    score.add(read, truth, descriptor)
                print(f"  {descriptor.name}: {one}\n    {similarities(read, truth, descriptor)}",
                      flush=True)  # fmt: skip
    for name, score in scores.items():
        if score.tracks:
            print(f"{name}, all sessions: {score}")


if __name__ == "__main__":
    main()
