"""The schemas of single files: generated from types, with what no type says added by hand."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

from mien.data.dataset import SCHEMA_VERSION as DATASET_SCHEMA
from mien.data.dataset import SPLITS, Dataset
from mien.data.records import Origin
from mien.doctor.finding import Finding
from mien.model.hub import SCHEMA_VERSION as HUB_SCHEMA
from mien.model.info import SCHEMA_VERSION as MODEL_SCHEMA
from mien.model.info import Head, ModelInfo
from mien.train.networks.registry import NETWORKS
from mien.train.recipe.recipe import Recipe
from mien.train.recipe.reference import attribute_docs
from mien.train.recipe.schema import SCHEMA_VERSION as RECIPE_SCHEMA
from mien.train.recipe.settings import NetworkConfig
from mien.train.run.checkpoint import SCHEMA_VERSION as CHECKPOINT_SCHEMA
from mien.train.run.metrics import EpochMetrics
from mien.types import FaceReading, FrameReading, ImageReading, TrackedFace
from mien.video.people.file import SCHEMA_VERSION as PEOPLE_SCHEMA
from mien.video.people.parts import Embedding, Person, TrackPart
from mien.video.sinks.rows import arrow_schema
from schema_types import (
    Schema,
    dataclass_schema,
    defaults_of,
    described,
    object_schema,
    optional_null,
    type_schema,
)

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
TEXTS: Schema = {"type": "array", "items": TEXT}
TABLE: Schema = {"type": "object"}
FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}
TIME: Schema = {"type": "string", "format": "date-time"}
HASH: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
FINGERPRINT: Schema = {"type": "string", "pattern": "^[0-9a-f]{16}$"}


def reading() -> Schema:
    """Return the schema of `ImageReading.to_dict`."""
    face = dataclass_schema(FaceReading, optional=["prediction_set"])
    probabilities = {"type": "object", "additionalProperties": FRACTION}
    properties = face["properties"]
    for name, kind in {
        "score": FRACTION,
        "confidence": FRACTION,
        "probabilities": probabilities,
    }.items():
        properties[name] = described(kind, properties[name]["description"])
    properties["prediction_set"] = described(TEXTS, _absent(properties["prediction_set"]))
    # `origin` loads the pixels again; no file has it.
    image = dataclass_schema(ImageReading, without=["origin"])
    words = dict(attribute_docs(ImageReading))
    image["properties"]["faces"] = described({"type": "array", "items": face}, words["faces"])
    image["properties"]["turn"] = described({"enum": [0, 90, 180, 270]}, words["turn"])
    return image


def _absent(schema: Schema) -> str:
    """Return the description of a key that is left out where the attribute is None."""
    return str(schema["description"]).replace("null", "absent")


ARROW = {"string": "string", "int64": "integer", "int32": "integer", "double": "number",
         "float": "number", "bool": "boolean"}  # fmt: skip
EDGES = dict(zip(("x0", "y0", "x1", "y1"), ("left", "top", "right", "bottom"), strict=True))


def video_row() -> Schema:
    """Return the schema of a row of a video, from the columns of its Arrow table."""
    words = {**dict(attribute_docs(FrameReading)), **dict(attribute_docs(TrackedFace))}
    words |= {
        key: f"{edge} edge of the box, in pixels of the frame as displayed"
        for key, edge in EDGES.items()
    }
    words |= {
        "landmarks": "ten numbers: five pairs x, y, in detected frames only",
        "yaw": "the head is turned to the side: degrees, -90 to 90, positive towards the image's "
        "right edge; in detected frames only",
        "pitch": "the head is raised or lowered: degrees, -180 to 180, positive upwards",
        "roll": "the head is tilted in the image's plane: degrees, -180 to 180, positive clockwise",
        "unsure": "whether no expression is predicted; null without a face",
    }
    label = "LABEL"
    properties: dict[str, Schema] = {}
    patterns: dict[str, Schema] = {}
    for column in arrow_schema([label]):
        kind = str(column.type)
        if kind.startswith("list"):
            schema: Schema = {"type": "array", "items": NUMBER, "minItems": 10, "maxItems": 10}
        else:
            schema = {"type": ARROW[kind]}
        # A frame without a face has a row too, in which only these are known.
        if column.name not in ("source", "frame", "time_s"):
            schema = optional_null(schema)
        if column.name.endswith(label):
            prefix = column.name.removesuffix(label)
            about = {"raw_": words["raw"], "p_": words["probabilities"]}[prefix]
            patterns[f"^{prefix}.+$"] = described(schema, about)
        else:
            properties[column.name] = described(schema, words[column.name])
    return {**object_schema(properties), "patternProperties": patterns}


def people() -> Schema:
    """Return the schema of people.json."""
    part = dataclass_schema(TrackPart, optional=["start_s", "end_s"])
    for name, words in (("start_s", "track's start"), ("end_s", "track's end")):
        part["properties"][name] = described(NUMBER, f"seconds; absent: the {words}")
    part["properties"]["track"] = described(
        {"type": "integer", "minimum": 1}, part["properties"]["track"]["description"]
    )
    parts: Schema = {"type": "array", "items": part}
    person = dataclass_schema(Person)
    person["properties"] |= {
        "id": described({"type": "string", "pattern": "^P[1-9][0-9]*$"},
                        person["properties"]["id"]["description"]),
        "tracks": described(parts,
                            person["properties"]["tracks"]["description"]),
    }  # fmt: skip
    return object_schema(
        {
            "schema": described({"const": PEOPLE_SCHEMA}, "version of this format"),
            "mien": described(TEXT, "version of mien that wrote it"),
            "embedding": described(dataclass_schema(Embedding), "what tracks were compared by"),
            "last_id": described(
                {"type": "integer", "minimum": 0},
                "highest number that an id ever had: ids are never used again",
            ),
            "people": described({"type": "array", "items": person}, "the people, by id"),
            "unknown": described(parts, "tracks whose person is not known"),
            "not_a_face": described(parts, "tracks that are false alarms of the detector"),
        },
        optional=["last_id"],
    )


def config() -> Schema:
    """Return the schema of a run folder's config.json."""
    versions = object_schema({name: TEXT for name in ("mien", "python", "torch", "numpy")})
    machine = object_schema(
        {
            "processor": described(
                TEXT, "name of the CPU, as Python's platform.processor gives it"
            ),
            "threads": described(WHOLE, "CPU threads of each process"),
            "processes": described(WHOLE, "processes that trained together"),
        }
    )
    return object_schema(
        {
            "schema": described({"const": RECIPE_SCHEMA}, "version of this format"),
            "recipe": described(_recipe(), "all settings, defaults included: see settings.md"),
            "data": described(TEXT, "folder of the dataset"),
            "data_name": described(TEXT, "name of the dataset"),
            "fingerprint": described(FINGERPRINT, _dataset_words()["fingerprint"]),
            "input_size": described(WHOLE, "height and width of the crops, in pixels"),
            "created": described(TIME, "when the run was started, ISO 8601, UTC"),
            "command": described(TEXTS, "the command line"),
            "versions": described(versions, "of the packages that trained it"),
            "machine": described(machine, "that it was started on"),
        }
    )


def _recipe() -> Schema:
    schema = dataclass_schema(Recipe)
    general = dataclass_schema(NetworkConfig, without=["options"])
    # The options of a network stand beside its name, and each network has its own.
    variants = []
    for name, entry in NETWORKS.items():
        own = dataclass_schema(entry.options)
        properties = {**general["properties"], **own["properties"], "name": {"const": name}}
        variants.append(object_schema(properties))
    schema["properties"]["network"] = {"oneOf": variants}
    return schema


def status() -> Schema:
    """Return the schema of a run folder's status.json."""
    values = ["running", "finished", "stopped early", "interrupted", "failed"]
    return object_schema(
        {
            "status": described({"enum": values}, "what became of the run"),
            "time": described(TIME, "when this was written, ISO 8601, UTC"),
            "epoch": described(WHOLE, "finished epochs"),
            "best_epoch": described(WHOLE, "the best epoch on validation, from 1; 0 for none yet"),
            "reason": described(TEXT, "why the run failed, else empty"),
        },
        optional=["best_epoch", "reason"],
    )


def checkpoint() -> Schema:
    """Return the schema of a checkpoint's JSON file."""
    return object_schema(
        {
            "schema": described({"const": CHECKPOINT_SCHEMA}, "version of this format"),
            "tensors": described(TEXT, "name of the safetensors file beside it"),
            "sha256": described(HASH, "of that file"),
            "epoch": described(WHOLE, "finished epochs"),
            "best_epoch": described(WHOLE, "the best epoch on validation, from 1"),
            "metrics": described(
                dataclass_schema(EpochMetrics), "line of metrics.jsonl of that epoch, in best.json"
            ),
            "optimizer": described(
                TABLE, "state of the optimizer that is not a tensor, in last.json"
            ),
            "history": described(
                {"type": "array", "items": dataclass_schema(EpochMetrics)},
                "lines of metrics.jsonl, in last.json",
            ),
            "signals": described(
                {"type": "array", "items": TABLE}, "lines of signals.jsonl, in last.json"
            ),
        },
        optional=["metrics", "optimizer", "history", "signals"],
    )


def finding_file() -> Schema:
    """Return the schema of doctor.json."""
    finding = dataclass_schema(Finding)
    judged = {"type": "object", "additionalProperties": TEXT}
    return object_schema(
        {
            "findings": described(
                {"type": "array", "items": finding}, "what is wrong, the serious first"
            ),
            "not_judged": described(judged, "each rule that abstained, and why"),
        }
    )


def _dataset_words() -> dict[str, str]:
    return dict(attribute_docs(Dataset))


def dataset_json() -> Schema:
    """Return the schema of dataset.json."""
    words = _dataset_words()
    notice = object_schema(
        {
            "kind": described(TEXT, "of the warning, see data.md"),
            "message": TEXT,
            "count": described(WHOLE, "images or files that it is about"),
            "examples": described(TEXTS, "names of the first"),
        }
    )
    # Sources add facts of their own; each count is a number.
    facts = {"type": "object", "properties": {"warnings": {"type": "array", "items": notice}}}
    return object_schema(
        {
            "schema": described({"const": DATASET_SCHEMA}, "version of this format"),
            "name": described(TEXT, "of the collection"),
            "fingerprint": described(FINGERPRINT, words["fingerprint"]),
            "size": described(WHOLE, "height and width of a crop, in pixels"),
            "label_names": described(TEXTS, "the classes"),
            "vote_names": described(TEXTS, words["vote_names"]),
            "facts": described(facts, words["facts"]),
        }
    )


def manifest_row() -> Schema:
    """Return the schema of a row of manifest.parquet."""
    words, origin = _dataset_words(), get_type_hints(Origin)
    where = dict(attribute_docs(Origin))
    crop = optional_null({"type": "array", "items": NUMBER, "minItems": 4, "maxItems": 4})
    marks = optional_null({"type": "array", "items": NUMBER, "minItems": 10, "maxItems": 10})
    votes = {"type": "array", "items": NUMBER}
    properties = {
        "source": described(TEXT, "the path or row that the image came from"),
        "label": described(optional_null(TEXT), "name of the class; null without a label"),
        "votes": described(votes, "raters' votes, in the order of vote_names"),
        "subject": described(TEXT, "who is on the image; empty where unknown"),
        "source_split": described(TEXT, "the split that the source gives; empty for none"),
        "split": described({"enum": [*SPLITS, ""]}, "the split that mien uses"),
        "group": described(WHOLE, words["groups_n"].partition("; ")[2]),
        "sha256": described(HASH, "of the pixels"),
        "phash": described(TEXT, "perceptual hash, hexadecimal"),
        "source_width": described(type_schema(origin["width"]), where["width"]),
        "source_height": described(type_schema(origin["height"]), where["height"]),
        "face_box": described(crop, where["box"]),
        "face_score": described(type_schema(origin["score"]), where["score"]),
        "face_landmarks": described(marks, where["landmarks"]),
    }
    # Votes where raters voted; the place of the face where the source holds image files.
    optional = [
        "votes",
        "source_width",
        "source_height",
        "face_box",
        "face_score",
        "face_landmarks",
    ]
    return object_schema(properties, optional=optional)


def model_info() -> Schema:
    """Return the schema of the metadata in a model file."""
    optional = defaults_of(ModelInfo)
    schema = dataclass_schema(ModelInfo, optional=optional)
    properties: dict[str, Any] = schema["properties"]
    head = dataclass_schema(Head, optional=defaults_of(Head) - {"temperature"})
    prior = {"type": "object", "additionalProperties": {"exclusiveMinimum": 0, "maximum": 1}}
    # A prior that is not known has no key in the file.
    for owner in (properties, head["properties"]):
        owner["training_prior"] = described(prior, _absent(owner["training_prior"]))
    properties["prior"] = described(prior, _absent(properties["prior"]))
    properties["heads"] = described(
        {"type": "array", "items": head}, properties["heads"]["description"]
    )
    properties["colour"] = described({"const": "grey"}, properties["colour"]["description"])
    properties["precision"] = described(
        {"enum": ["float32", "int8"]}, properties["precision"]["description"]
    )
    first = {"schema": described({"const": MODEL_SCHEMA}, "version of this format")}
    schema["properties"] = {**first, **properties}
    schema["required"] = ["schema", *schema["required"]]
    assert {f.name for f in fields(ModelInfo)} < set(schema["properties"])  # noqa: S101
    return schema


def hub_manifest() -> Schema:
    """Return the schema of mien.json on a hub."""
    file = object_schema({"bytes": described(WHOLE, "size of the file"), "sha256": HASH})
    return object_schema(
        {
            "schema": described({"const": HUB_SCHEMA}, "version of this format"),
            "name": described(TEXT, "of the model"),
            "mien_version": described(TEXT, "that pushed it"),
            "model": described(TEXT, "name of the model file"),
            "files": described(
                {"type": "object", "additionalProperties": file}, "each file, by its name"
            ),
        }
    )
