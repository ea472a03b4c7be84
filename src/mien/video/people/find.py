"""From the faces of tracks to people: read `find_people` first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mien.video.people.alike import Judgement, judge
from mien.video.people.cluster import cluster
from mien.video.people.file import People
from mien.video.people.parts import Embedding, Person, TrackPart, frames_of, tidy
from mien.video.people.seen import joint_frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mien.model.descriptor import FaceDescriptor
    from mien.video.people.seen import Seen, TrackKey
    from mien.video.people.stretches import TrackFace

MIN_EYES_PX = 14.0
"""Smallest distance of the eyes, in pixels, at which a face is compared: a face 35 pixels wide."""
MIN_WORTH = 0.03
"""Least worth of the best chip of a track, see `chips.worth`."""
MIN_SEEN_S = 0.3
"""Shorter tracks are mostly half-seen faces at an edge."""


@dataclass(frozen=True, slots=True)
class Found:
    """What `find_people` returns.

    Attributes:
        people: all tracks, each in one place.
        reasons: why new tracks are unknown: the number of tracks by reason.
        too_alike: whether the faces are too alike to be distinguished well, see `alike.judge`.
    """

    people: People
    reasons: dict[str, int] = field(default_factory=dict)
    too_alike: bool = False


class _Clusters(NamedTuple):
    """Clusters of tracks.

    Attributes:
        numbers_n: int64 [n], the cluster of each track.
        unclear_n: bool [n], which tracks could as well belong to another cluster.
        judgement: how alike the faces are.
    """

    numbers_n: NDArray[np.int64]
    unclear_n: NDArray[np.bool_]
    judgement: Judgement


def find_people(
    seen: Mapping[TrackKey, Seen],
    faces: Mapping[TrackPart, TrackFace],
    descriptor: FaceDescriptor,
    earlier: People | None = None,
) -> Found:
    """Join tracks into people.

    Two tracks that one frame shows are two people. A track stays unknown if its face was seen too
    small, too briefly or not at all, if its chips differ like two people's, or if two people, or
    one other track, fit almost as well. Where faces are too alike, the threshold is raised, and
    tracks that are similar to others but join none stay unknown too.

    Args:
        seen: frames of all tracks, see `seen_in`.
        faces: of the tracks that have one.
        descriptor: what they were embedded by.
        earlier: people who were found or edited before: they and their tracks stay as they are,
            and only tracks that they lack are joined to them.
    """
    start = earlier or People(Embedding(descriptor.name, descriptor.threshold))
    placed = {part.key for part in start.parts()}
    parts = _new_parts([key for key in seen if key not in placed], faces)
    reasons = {part: why for part in parts if (why := _unusable(part, seen, faces, descriptor))}
    grouped = [(part, person) for person in start.people for part in faces
               if any(part.is_within(outer) for outer in person.tracks)]  # fmt: skip
    known = [person for _, person in grouped]
    items = [*(part for part, _ in grouped), *(p for p in parts if p not in reasons)]
    clusters = _cluster(items, known, start, seen, faces, descriptor)
    start = replace(start, embedding=Embedding(descriptor.name, clusters.judgement.threshold))
    for row in range(len(known), len(items)):
        if clusters.unclear_n[row]:
            reasons[items[row]] = "could be one of two people"
    people = _with_clusters(start, items, clusters.numbers_n, known, reasons)
    counts: dict[str, int] = defaultdict(int)
    for why in reasons.values():
        counts[why] += 1
    people = replace(people, unknown=tidy((*people.unknown, *reasons)))
    return Found(people, dict(counts), clusters.judgement.too_alike)


def _new_parts(keys: list[TrackKey], faces: Mapping[TrackPart, TrackFace]) -> list[TrackPart]:
    """Return the parts of tracks that have a face; whole tracks that have none."""
    by_track: dict[TrackKey, list[TrackPart]] = defaultdict(list)
    for part in sorted(faces, key=TrackPart.order):
        by_track[part.key].append(part)
    found: list[TrackPart] = []
    for key in keys:
        found += by_track.get(key) or [TrackPart(*key)]
    return found


def _unusable(
    part: TrackPart,
    seen: Mapping[TrackKey, Seen],
    faces: Mapping[TrackPart, TrackFace],
    descriptor: FaceDescriptor,
) -> str:
    """Return why a face cannot be compared, or ''."""
    face = faces.get(part)
    if face is None:
        return "no face of good quality"
    times = seen[part.key].times_n
    inside = times[part.mask(times)]
    if not len(inside) or inside[-1] - inside[0] < MIN_SEEN_S:
        return f"seen for less than {MIN_SEEN_S:g} s"
    if face.eyes_px < MIN_EYES_PX or face.worth < MIN_WORTH:
        return "too small or turned too far"
    if face.agreement < descriptor.threshold - 2 * descriptor.margin:
        return "changes as if it showed two people"
    return ""


def _cluster(
    parts: list[TrackPart],
    known: Sequence[Person],
    start: People,
    seen: Mapping[TrackKey, Seen],
    faces: Mapping[TrackPart, TrackFace],
    descriptor: FaceDescriptor,
) -> _Clusters:
    """Return the clusters of tracks."""
    if not parts:
        judgement = Judgement(descriptor.threshold, too_alike=False)
        return _Clusters(np.zeros(0, np.int64), np.zeros(0, bool), judgement)
    vectors = np.stack([faces[part].vector_d for part in parts]).astype(np.float64)
    similarity = vectors @ vectors.T
    apart = _apart(parts, known, start, seen)
    ids = [person.id for person in start.people]
    groups = np.full(len(parts), -1, np.int64)
    groups[: len(known)] = [ids.index(person.id) for person in known]
    judgement = judge(similarity, apart, descriptor)
    # A track whose chips differ more than two people may do could show both.
    least = judgement.threshold - 2 * descriptor.margin
    mixed = np.array([judgement.too_alike and faces[part].agreement < least for part in parts])
    mixed[: len(known)] = False
    apart |= mixed[:, None] | mixed
    numbers = cluster(similarity, apart, judgement.threshold, groups)
    unclear = mixed | _ambiguous(similarity, apart, numbers, descriptor)
    return _Clusters(numbers, unclear, judgement)


def _apart(
    parts: list[TrackPart],
    known: Sequence[Person],
    start: People,
    seen: Mapping[TrackKey, Seen],
) -> NDArray[np.bool_]:
    """Return which tracks must stay apart: one frame shows both, or they are of two people."""
    apart = _in_one_frame(parts, seen)
    owners = np.array([person.id for person in known])
    count = len(known)
    apart[:count, :count] = owners[:, None] != owners[None]
    # Also tracks without a descriptor, and split ones, say where a person was.
    for person in start.people if count else ():
        mine = np.flatnonzero(owners == person.id)
        frames = frames_of(person.tracks, seen)
        for row in range(count, len(parts)):
            whole = frames_of([parts[row]], seen)
            if joint_frame(frames, whole) is not None:
                apart[mine, row] = apart[row, mine] = True
    return apart


def _in_one_frame(parts: list[TrackPart], seen: Mapping[TrackKey, Seen]) -> NDArray[np.bool_]:
    """Return which pairs of tracks one frame shows, bool [n, n]."""
    joint = np.zeros((len(parts), len(parts)), bool)
    rows = defaultdict(list)
    for row, part in enumerate(parts):
        rows[part.source].append(row)
    inside = [seen[part.key].between(part.start_s, part.end_s) for part in parts]
    for some in rows.values():
        own = [row for row in some if len(inside[row])]
        own.sort(key=lambda row: int(inside[row][0]))
        for place, row in enumerate(own):
            frames = inside[row]
            for other in own[place + 1 :]:
                others = inside[other]
                if others[0] > frames[-1]:
                    break  # sorted by their first frame
                if len(np.intersect1d(frames, others, assume_unique=True)):
                    joint[row, other] = joint[other, row] = True
    return joint


def _ambiguous(
    similarity_nn: NDArray[np.float64],
    apart_nn: NDArray[np.bool_],
    numbers_n: NDArray[np.int64],
    descriptor: FaceDescriptor,
) -> NDArray[np.bool_]:
    """Return which tracks could as well belong to another cluster, bool [n]."""
    member = numbers_n[:, None] == np.arange(numbers_n.max() + 1)[None]
    sizes = member.sum(axis=0)
    sums = similarity_nn @ member
    own_sums = sums[np.arange(len(numbers_n)), numbers_n] - np.diag(similarity_nn)
    own_sizes = sizes[numbers_n] - 1
    # A track that is alone joins no cluster below the threshold, so that is its own similarity.
    own = np.where(own_sizes > 0, own_sums / np.maximum(own_sizes, 1), descriptor.threshold)
    means = sums / sizes
    # Whoever is in the same frame is another person, however similar.
    means[(apart_nn.astype(np.int64) @ member) > 0] = -np.inf
    means[np.arange(len(numbers_n)), numbers_n] = -np.inf
    other = means.max(axis=1)
    ambiguous: NDArray[np.bool_] = other > own - descriptor.margin
    return ambiguous


def _with_clusters(
    start: People,
    parts: list[TrackPart],
    numbers_n: NDArray[np.int64],
    known: Sequence[Person],
    without: Mapping[TrackPart, str],
) -> People:
    """Return the people with the new tracks of each cluster added to its person, or a new one."""
    owners = {int(numbers_n[row]): person.id for row, person in enumerate(known)}
    tracks: dict[str, list[TrackPart]] = {p.id: list(p.tracks) for p in start.people}
    names = {p.id: p.name for p in start.people}
    last = start.last_id
    for row in range(len(known), len(parts)):
        if parts[row] in without:
            continue
        number = int(numbers_n[row])
        if number not in owners:
            last += 1
            owners[number] = f"P{last}"
        tracks.setdefault(owners[number], []).append(parts[row])
    people = tuple(Person(ids, names.get(ids), tidy(own)) for ids, own in tracks.items())
    return replace(start, people=people, last_id=last)
