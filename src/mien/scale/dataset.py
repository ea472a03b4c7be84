"""The dataset that a run on an engine writes: Parquet files by source, and a manifest.

The driver is its only writer. The work is cut into segments; the records of an unfinished segment
stand in a journal, a line each, handed to the system at once, so that a kill takes none of them.
A finished segment becomes Parquet files, whose content depends on nothing but its records: not on
the engine, nor on the order in which they came, nor on how often the run was resumed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Any

from mien.errors import ConfigError, SourceError
from mien.files import (
    JsonKind,
    atomic_write,
    plain,
    read_json,
    read_schema_json,
    sha256_file,
    sweep,
    write_error,
    write_json,
    write_text,
)
from mien.video.sinks.rows import load_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
ROWS = "rows"
SUMMARIES = "summaries.jsonl"
UNFINISHED = ".unfinished"
PARTITION = "source_hash"
"""Column of the partition: the first hexadecimal digit of the SHA-256 of the source's name."""
_KIND = JsonKind(
    noun="manifest of a dataset of rows",
    newest=SCHEMA_VERSION,
    required=("run", "state"),
    error=SourceError,
    if_missing="give a folder that mien predict or mien video has written with an engine",
    if_damaged="the manifest is damaged; write the dataset again",
)


@dataclass(frozen=True, slots=True)
class Finished:
    """What the records of a segment amount to.

    Attributes:
        rows: of each source, in the order of the sources.
        failed: sources that could not be read, or not to their end: 'source', 'error', 'attempts'.
        summaries: one per source, where there are any; JSON types.
        counts: what is added up over the segments, such as the number of faces.
    """

    rows: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]
    failed: Sequence[Mapping[str, Any]] = ()
    summaries: Sequence[Mapping[str, Any]] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def partition_of(source: str) -> str:
    """Return the partition that a source's rows stand in: a hexadecimal digit."""
    # Names of files may be any bytes.
    return sha256(plain(source).encode()).hexdigest()[0]


class RowDataset:
    """Writes the dataset of one run; use it in a `with` statement.

    Args:
        folder: to write; made where it is missing.
        run: what the rows depend on, JSON types; only a run that equals in all of it is resumed.
        sizes: number of records of each segment.
        schema: Arrow schema of the rows.
        finish: turns the records of a segment, in the order of their numbers, into rows.
        resume: continue what an earlier run has left; without it the folder must be new.

    Raises:
        ConfigError: `folder` is a file, holds something already, or belongs to another run.
        SourceError: its manifest cannot be read.
        WriteError: it cannot be written.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(
        self,
        folder: Path,
        run: dict[str, Any],
        sizes: Sequence[int],
        schema: Any,
        finish: Callable[[int, list[Any]], Finished],
        resume: bool = False,
    ) -> None:
        load_arrow()  # a missing package is reported now, not after the last image
        self.folder, self._run, self._sizes = folder, run, sizes
        self._schema, self._finish = schema, finish
        self._done: dict[int, dict[str, Any]] = {}
        self._kept: dict[int, set[int]] = {}
        self._lock: IO[str] | None = None
        self._resume = resume
        self._check()

    def _check(self) -> None:
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"out: {folder} is a file, not a folder", hint="name a folder")
        if not (folder / MANIFEST).exists():
            if folder.exists() and any(folder.iterdir()):
                raise ConfigError(
                    f"out: {folder} holds other files already", hint="give a new folder"
                )
            return
        if not self._resume:
            raise ConfigError(
                f"out: {folder} holds a dataset already",
                hint="give another folder, or resume=True to continue it",
            )
        found = read_schema_json(folder / MANIFEST, _KIND, shown=folder)["run"]
        own = json.loads(json.dumps(self._run))
        differing = sorted(key for key in {*own, *found} if own.get(key) != found.get(key))
        if differing:
            raise ConfigError(
                f"out: {folder} was written by another run: other {', '.join(differing)}",
                hint="resume with the same sources, model, settings and versions, or give another "
                "folder",
            )

    def __enter__(self) -> RowDataset:
        unfinished = self.folder / UNFINISHED
        # What is complete stays as it is: resuming it again changes no byte.
        if self.is_complete:
            return self
        try:
            unfinished.mkdir(parents=True, exist_ok=True)
            self._lock = _exclusive(unfinished / "lock", self.folder)
            sweep(unfinished)
        except OSError as error:
            raise write_error(self.folder, error) from error
        for line in _lines(unfinished / "done.jsonl"):
            self._done[line["segment"]] = line
        for segment in range(len(self._sizes)):
            journal = self._journal(segment)
            if segment in self._done:
                journal.unlink(missing_ok=True)
            elif journal.exists():
                self._kept[segment] = {line["record"] for line in _lines(journal)}
        self._write_manifest("running")
        for segment, kept in sorted(self._kept.items()):
            if len(kept) == self._sizes[segment]:
                self._close_segment(segment)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()

    @property
    def is_complete(self) -> bool:
        """Whether an earlier run has read all of it."""
        path = self.folder / MANIFEST
        return path.exists() and read_json(path).get("state") == "complete"

    def has(self, segment: int, record: int) -> bool:
        """Return whether a record is kept already."""
        return segment in self._done or record in self._kept.get(segment, ())

    def add(self, segment: int, records: Mapping[int, Any]) -> None:
        """Keep records, JSON types; write the segment's files once it is complete.

        A record that is kept already is not taken again.

        Args:
            segment: that they belong to.
            records: by number.

        Raises:
            WriteError: the disk is full, or the like; what was kept stays for a resumed run.
        """
        new = {number: value for number, value in records.items() if not self.has(segment, number)}
        journal = self._journal(segment)
        lines = [
            json.dumps({"record": number, "value": value}, allow_nan=False) + "\n"
            for number, value in new.items()
        ]
        try:
            with journal.open("ab") as stream:
                stream.write("".join(lines).encode())
        except OSError as error:
            raise write_error(journal, error) from error
        kept = self._kept.setdefault(segment, set())
        kept |= set(new)
        if new and len(kept) == self._sizes[segment]:
            self._close_segment(segment)

    def _journal(self, segment: int) -> Path:
        return self.folder / UNFINISHED / f"segment-{segment:06d}.jsonl"

    def _close_segment(self, segment: int) -> None:
        journal = self._journal(segment)
        records = {line["record"]: line["value"] for line in _lines(journal)}
        finished = self._finish(segment, [records[number] for number in sorted(records)])
        by_partition: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for source, rows in finished.rows:
            by_partition[partition_of(source)] += rows
        files = {}
        for partition, rows in sorted(by_partition.items()):
            name = f"{ROWS}/{PARTITION}={partition}/part-{segment:06d}.parquet"
            self._write_rows(self.folder / name, rows)
            files[name] = {"sha256": sha256_file(self.folder / name), "rows": len(rows)}
        note = {
            "segment": segment, "files": files, "failed": list(finished.failed),
            "summaries": list(finished.summaries), "counts": dict(finished.counts),
        }  # fmt: skip
        done = self.folder / UNFINISHED / "done.jsonl"
        try:
            with done.open("ab") as stream:
                stream.write(f"{json.dumps(note, allow_nan=False)}\n".encode())
                stream.flush()
                # Before the journal goes: one of the two must survive a power cut.
                os.fsync(stream.fileno())
        except OSError as error:
            raise write_error(done, error) from error
        self._done[segment] = note
        self._kept.pop(segment, None)
        journal.unlink()

    def _write_rows(self, path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
        pa = load_arrow()
        import pyarrow.parquet as pq

        cleaned = [
            {key: plain(v) if isinstance(v, str) else v for key, v in row.items()} for row in rows
        ]
        table = pa.Table.from_pylist(cleaned, schema=self._schema)
        with atomic_write(path) as out:
            pq.write_table(table, out, compression="zstd")

    def complete(self) -> dict[str, Any]:
        """Write summaries and manifest, remove the journals; return the manifest.

        Raises:
            WriteError: a file cannot be written.
        """
        if not self._done and self.is_complete:
            return dict(read_json(self.folder / MANIFEST))
        notes = [self._done[segment] for segment in sorted(self._done)]
        summaries = [summary for note in notes for summary in note["summaries"]]
        if summaries:
            text = "".join(json.dumps(s, ensure_ascii=False) + "\n" for s in summaries)
            write_text(self.folder / SUMMARIES, text)
        counts: dict[str, int] = defaultdict(int)
        for note in notes:
            for name, number in note["counts"].items():
                counts[name] += number
        manifest = self._write_manifest(
            "complete",
            counts=dict(counts),
            failed=[record for note in notes for record in note["failed"]],
            files={name: about for note in notes for name, about in note["files"].items()},
        )
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        # Last: until the manifest says 'complete', they are what a resumed run needs.
        shutil.rmtree(self.folder / UNFINISHED, ignore_errors=True)
        return manifest

    def _write_manifest(self, state: str, **more: Any) -> dict[str, Any]:
        manifest = {"schema": SCHEMA_VERSION, "state": state, "run": self._run, **more}
        write_json(self.folder / MANIFEST, manifest)
        return manifest


def _exclusive(path: Path, folder: Path) -> IO[str]:
    """Return an open file that only one process at a time can lock."""
    stream = path.open("w", encoding="utf-8")
    try:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass  # Windows has no flock; two runs into one folder are not detected there
    except OSError as error:
        stream.close()
        raise ConfigError(
            f"out: another run writes to {folder}", hint="wait for its end, or give another folder"
        ) from error
    return stream


def _lines(path: Path) -> Iterator[Any]:
    """Yield the values in a file of JSON lines; cut off a last line that a kill left unfinished."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            yield json.loads(line)
        else:
            return
    os.truncate(path, end)
