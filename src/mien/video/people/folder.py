"""The people of a folder of rows, from the first video to the file: read `PeopleFolder` first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mien.errors import counted
from mien.model.descriptor import DLIB, load_descriptor
from mien.video.people.collect import FaceCollector
from mien.video.people.file import FILE_NAME, People
from mien.video.people.find import find_people
from mien.video.people.gallery import Gallery
from mien.video.people.parts import Embedding
from mien.video.people.reread import reread_faces
from mien.video.people.seen import seen_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from mien.model.descriptor import FaceDescriptor
    from mien.video.people.find import Found
    from mien.video.people.parts import TrackPart
    from mien.video.people.seen import Seen, TrackKey
    from mien.video.people.stretches import TrackFace
    from mien.video.sources import Source

NOTICE = (
    "note: this compares faces to find the same person again, which is biometric processing: "
    "it needs a legal basis, in many places the people's explicit consent; nothing leaves this "
    "machine (docs/people.md)"
)


class PeopleFolder:
    """Collects faces while videos are read, and joins their tracks into people at the end.

    Args:
        folder: of the rows.
        keep: write the embeddings into the folder too.
        again: find all people again, also those that a user has edited.
        say: called with one line for each thing that a user should know.
        threads: CPU threads (0 = all cores).
        descriptor: what faces are compared by; the best one that is installed where None.

    Raises:
        DataError: the folder's people.json or people.npz is damaged, or of a newer schema.
        ModelFileError: dlib's weights are missing from the installed package, or changed.
        MissingExtraError: the package onnx is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: bool = False,
        again: bool = False,
        say: Callable[[str], None] = lambda text: None,
        threads: int = 0,
        descriptor: FaceDescriptor | None = None,
    ) -> None:
        self.folder, self._keep, self._say = folder, keep, say
        exists = (folder / FILE_NAME).exists()
        # Read before the videos: a damaged file must not be found hours later.
        self._earlier = People.load(folder) if exists and not again else None
        self._last_id = People.load(folder).last_id if exists and again else 0
        self._gallery = Gallery.load(folder)
        self.descriptor = descriptor or load_descriptor(threads)
        self._collectors: list[tuple[FaceCollector, bool]] = []

    def collector(self, source: Source, *, resumed: bool = False) -> FaceCollector:
        """Return the sink that collects the faces of a source.

        Args:
            source: what is read.
            resumed: whether an earlier run has read its first frames.
        """
        found = FaceCollector(source.name, self.descriptor)
        self._collectors.append((found, resumed))
        return found

    def finish(self, table: Any) -> Found:
        """Join the tracks of rows into people, and write people.json.

        Args:
            table: a pyarrow.Table of all rows of the folder.

        Raises:
            WriteError: a file could not be written.
        """
        seen = seen_in(table)
        fresh = {c.source for c, resumed in self._collectors if not resumed}
        earlier = self._repaired(seen, fresh)
        faces, unread = self._faces(table, seen, earlier, fresh)
        start = earlier or People(
            Embedding(self.descriptor.name, self.descriptor.threshold), last_id=self._last_id
        )
        # Left out of the file, so that they are looked for again when their videos are there.
        placed = {part.key for part in start.parts()}
        later = {key for key in seen if key.source in unread and key not in placed}
        compared = {key: one for key, one in seen.items() if key not in later}
        found = find_people(compared, faces, self.descriptor, start)
        if later:
            found.reasons["video not read, left for the next time"] = len(later)
        if self._keep or self._gallery is not None:
            Gallery(self.descriptor.name, faces).save(self.folder)
        found.people.save(self.folder / FILE_NAME)
        return found

    def _repaired(self, seen: dict[TrackKey, Seen], fresh: set[str]) -> People | None:
        """Return the earlier people without tracks that the rows lack or that were read again."""
        if self._earlier is None:
            return None
        gone = [part for part in self._earlier.parts()
                if part.key not in seen or part.source in fresh]  # fmt: skip
        if gone:
            self._say(
                f"{counted(len(gone), 'track')} of the earlier {FILE_NAME} left out: no longer in "
                "the rows, or read again"
            )
        return self._earlier.without(gone)

    def _faces(
        self,
        table: Any,
        seen: dict[TrackKey, Seen],
        earlier: People | None,
        fresh: Collection[str],
    ) -> tuple[dict[TrackPart, TrackFace], set[str]]:
        """Return the faces of tracks, and the sources whose videos could not be read.

        Faces are kept ones, of this run, or from the videos again.
        """
        faces: dict[TrackPart, TrackFace] = {}
        if self._gallery is not None and self._gallery.name == self.descriptor.name:
            kept = self._gallery.faces.items()
            faces.update((p, f) for p, f in kept if p.key in seen and p.source not in fresh)
        for collector, _ in self._collectors:
            faces.update((p, f) for p, f in collector.faces.items() if p.key in seen)
        placed = {part.key for part in earlier.parts()} if earlier else set()
        nobody = {part.key for part in _not_people(earlier)}
        have = {part.key for part in faces}
        lacking = [key for key in seen if key not in have and key not in nobody]
        missing = [key for key in lacking if key.source not in fresh]
        # Without a new track there is nothing to compare the old ones with.
        if missing and (self._keep or any(key not in placed for key in seen)):
            reread = reread_faces(table, missing, self.descriptor, self.folder, self._say)
            return faces | reread.faces, reread.unread
        return faces, set()


def describe(descriptor: FaceDescriptor) -> str:
    """Return a line that says what faces are compared by."""
    if descriptor.name == DLIB:
        return "faces are compared by dlib's face-recognition network"
    return (
        "faces are compared by the expression model's features and colours, which confuse people "
        "more often than dlib's network: pip install 'mien[people]'"
    )


def forget(folder: Path, who: str) -> tuple[People, int]:
    """Remove a person's name, id and embeddings from a folder; the tracks become unknown.

    Returns:
        The people who are left, and how many tracks had an embedding.

    Raises:
        DataError: no such person, or a file is damaged.
        WriteError: a file could not be written.
    """
    people = People.load(folder)
    keys = {part.key for part in people.find(who).tracks}
    left = people.forget(who)
    gallery = Gallery.load(folder)
    count = 0
    # Embeddings first: they must be gone even if the second file cannot be written.
    if gallery is not None:
        count = sum(part.key in keys for part in gallery.faces)
        gallery.without(keys).save(folder)
    left.save(folder / FILE_NAME)
    return left, count


def _not_people(people: People | None) -> Iterable[TrackPart]:
    return (*people.unknown, *people.not_a_face) if people else ()
