"""Images on an engine, in batches, to a dataset of rows: read `read_images_on` first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mien.scale.dataset import Finished, RowDataset
from mien.scale.mapping import map_items
from mien.scale.run import describe_run
from mien.types import ABOUT, FACE, face_rows
from mien.video.sinks.rows import load_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mien.predict.sources import ImageSource
    from mien.reader import Reader
    from mien.scale.engine import Engine
    from mien.scale.mapping import Outcome, Progress

BATCH = 32
"""Images of an item: half a second of work, against a millisecond of an engine's."""
SEGMENT = 4096
"""Images whose rows are written together, in up to 16 files."""


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """The unit of work: some images.

    Attributes:
        numbers: of the images among all of the run.
        images: as many.
    """

    numbers: tuple[int, ...]
    images: tuple[ImageSource, ...]

    def split(self) -> list[ImageBatch]:
        """Return a batch for each image."""
        pairs = zip(self.numbers, self.images, strict=True)
        return [ImageBatch((number,), (image,)) for number, image in pairs]


@dataclass(frozen=True, slots=True)
class MakeImageWorker:
    """Makes what reads batches in a worker.

    Attributes:
        reader: pickled with its models' content, so that all machines have the same.
    """

    reader: Reader

    def __call__(self) -> Callable[[ImageBatch], list[list[dict[str, Any]]]]:
        """Return a function from a batch to the rows of each of its images."""
        reader = self.reader

        def read(batch: ImageBatch) -> list[list[dict[str, Any]]]:
            return [face_rows(reading) for reading in reader.read_many(batch.images)]

        return read


def read_images_on(  # noqa: PLR0913  (each is a setting of its own, by name)
    engine: Engine,
    reader: Reader,
    images: Sequence[ImageSource],
    out: Path,
    *,
    settings: dict[str, Any],
    model_sha256: str = "",
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Read images on an engine; write their rows as a dataset and return its manifest.

    The rows are those of `mien predict --csv`: one per face, or one for an image without. An
    image that takes its worker with it three times is a row with an error, and is listed in the
    manifest.

    Args:
        engine: not opened yet; it is closed at the end.
        reader: how images are read; with as many threads as a worker has.
        images: to read.
        out: folder of the dataset.
        settings: of the reader, JSON types, for the manifest.
        model_sha256: of the model's file, likewise.
        resume: continue an interrupted run; nothing is read twice.
        progress: progress callback; it counts batches.

    Raises:
        ClusterError: see `map_items`.
        ConfigError, SourceError, WriteError, MissingExtraError: see `RowDataset`.
    """
    info = reader.classifier.info
    settings = {**settings, "detector": reader.detector.name}
    sources = [(image.name, image.path) for image in images]
    run = describe_run("images", info, model_sha256, settings, sources)
    flow = _Images(images, reader)
    sizes = [min(SEGMENT, len(images) - start) for start in range(0, len(images), SEGMENT)]
    schema = image_schema(info.labels, with_sets=reader.policy.set_threshold is not None)
    with RowDataset(out, run, sizes, schema, flow.finish, resume) as dataset:
        missing = [] if dataset.is_complete else [
            number for number in range(len(images)) if not dataset.has(*divmod(number, SEGMENT))
        ]  # fmt: skip
        batches = [flow.batch(missing[at : at + BATCH]) for at in range(0, len(missing), BATCH)]
        try:
            if batches:
                engine.open(MakeImageWorker(reader))
            for outcome in map_items(engine, batches, split=ImageBatch.split, progress=progress):
                for segment, records in _records(outcome).items():
                    dataset.add(segment, records)
        finally:
            engine.close()
        return dataset.complete()


def _records(outcome: Outcome[ImageBatch]) -> dict[int, dict[int, Any]]:
    """Return the records of a batch by their segment and number."""
    failure = {"error": outcome.error, "attempts": outcome.attempts}
    records: dict[int, dict[int, Any]] = {}
    for position, number in enumerate(outcome.item.numbers):
        segment, record = divmod(number, SEGMENT)
        value = failure if outcome.error else {"rows": outcome.value[position]}
        records.setdefault(segment, {})[record] = value
    return records


class _Images:
    """The images of a run, and what their records amount to."""

    def __init__(self, images: Sequence[ImageSource], reader: Reader) -> None:
        self._images = images
        self._names = reader.detector.name, reader.classifier.info.name

    def batch(self, numbers: Sequence[int]) -> ImageBatch:
        return ImageBatch(tuple(numbers), tuple(self._images[number] for number in numbers))

    def finish(self, segment: int, records: Sequence[dict[str, Any]]) -> Finished:
        rows, failed = [], []
        counts = {"images": 0, "faces": 0, "without_a_face": 0, "unreadable": 0, "crashed": 0}
        for number, record in enumerate(records, start=segment * SEGMENT):
            source = self._images[number].name
            own = record.get("rows") or [self._crashed(source, record)]
            rows.append((source, own))
            faces, error = sum("face" in row for row in own), own[0]["error"]
            counts["images"] += 1
            counts["faces"] += faces
            counts["unreadable"] += error is not None
            counts["crashed"] += "rows" not in record
            counts["without_a_face"] += not faces and error is None
            if error is not None:
                attempts = record.get("attempts", 1)
                failed.append({"source": source, "error": error, "attempts": attempts})
        return Finished(rows, failed, counts=counts)

    def _crashed(self, source: str, record: dict[str, Any]) -> dict[str, Any]:
        detector, model = self._names
        error = f"{source} was given up after {record['attempts']} attempts: {record['error']}"
        return {
            "source": source, "width": 0, "height": 0, "detector": detector, "model": model,
            "turn": 0, "notes": "", "error": error,
        }  # fmt: skip


def image_schema(labels: Sequence[str], *, with_sets: bool = False) -> Any:
    """Return the Arrow schema of the rows of images; columns as in CSV.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = load_arrow()
    text = dict.fromkeys(
        ("source", "detector", "model", "label", "prediction_set", "notes", "error"), pa.string()
    )
    numbers = dict.fromkeys(("width", "height", "face", "turn"), pa.int32())
    sets = ["prediction_set"] if with_sets else []
    names = [*ABOUT, *FACE, *(f"p_{label}" for label in labels), *sets, "turn", "notes", "error"]
    kinds = text | numbers
    return pa.schema([(name, kinds.get(name, pa.float32())) for name in names])
