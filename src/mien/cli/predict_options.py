"""The options of `mien predict`: name, help and range of each; defaults stand in its signature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mien.cli.declare import argument, option
from mien.cli.paths import refuse_file
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.reader import Reader

# What is read.
Images = Annotated[
    list[str] | None,
    argument(
        metavar="IMAGES",
        help="Images, folders and quoted globs; - for an image on standard input; or videos.",
        show_default=False,
    ),
]
FromFile = Annotated[
    str | None,
    option(
        "--from-file", metavar="LIST", help="File with one path per line; - for standard input."
    ),
]

# What is written, and where.
AsJson = Annotated[bool, option("--json", help="Print a JSON list.")]
AsCsv = Annotated[bool, option("--csv", help="Print CSV, a row per face.")]
Output = Annotated[
    Path | None,
    option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write FILE instead of stdout, in the format of its suffix: .json, .jsonl, .csv, "
        ".tsv, .txt.",
    ),
]
Annotate = Annotated[
    Path | None,
    option("--annotate", metavar="OUT", help="Folder for annotated copies of the images."),
]

# How faces are found and classified; the options shared with other commands are in options.py.
Labels = Annotated[
    str,
    option("--labels", help="Label set to predict; seven selects FER2013's seven classes."),
]
Coverage = Annotated[
    float | None,
    option(
        "--coverage",
        help="Also return conformal prediction sets with this coverage, above 0 and below 1, "
        "such as 0.95.",
    ),
]
Rotate = Annotated[
    str,
    option(
        "--rotate",
        help="Turn images clockwise by 0, 90, 180 or 270 degrees first; auto tries all four.",
    ),
]
Provider = Annotated[
    str,
    option("--provider", help="What runs the model: cpu, cuda, openvino, coreml or directml."),
]


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """How faces are found and classified: the arguments of `Reader`."""

    model: Path | None
    labels: str
    detector: str
    faces: str
    min_confidence: float | None
    coverage: float | None
    prior: str
    rotate: str
    threads: int
    provider: str

    @property
    def only_images(self) -> bool:
        """Whether an option is set that videos do not have."""
        return self.faces != "find" or self.coverage is not None or self.rotate != "0"

    def make_reader(self) -> Reader:
        """Return the reader; models are loaded.

        Raises:
            ConfigError, ModelFileError: as `Reader` does.
        """
        from mien.predict.prior import parse_prior
        from mien.reader import Reader

        return Reader(
            self.model, labels=self.labels, detector=self.detector, faces=self.faces,
            min_confidence=self.min_confidence, coverage=self.coverage,
            prior=parse_prior(self.prior), threads=self.threads, provider=self.provider,
            rotate=self.rotate,
        )  # fmt: skip


FORMS = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tabs",
         ".txt": "table"}  # fmt: skip
"""Form of a file by the suffix of its name."""


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What is written, and where.

    Attributes:
        form: 'json', 'jsonl', 'csv', 'tabs' or 'table'.
        file: the file to write; None for standard output.
        annotate: folder for annotated images; None for none.
    """

    form: str
    file: Path | None = None
    annotate: Path | None = None

    @classmethod
    def of(
        cls, file: Path | None, annotate: Path | None, *, as_json: bool, as_csv: bool
    ) -> OutputOptions:
        """Return the options, checked before any model is loaded.

        Raises:
            ConfigError: options that contradict each other, or a file that cannot be written.
        """
        if as_json and as_csv:
            raise ConfigError("--json and --csv exclude each other", hint="choose one")
        asked = "json" if as_json else "csv" if as_csv else None
        if file is None:
            return cls(asked or "table", None, annotate)
        # /dev/null and pipes have no suffix that could name a form.
        special = file.exists() and not file.is_file() and not file.is_dir()
        refuse_file(file, "--output", () if asked or special else FORMS)
        own = FORMS.get(file.suffix.lower())
        # '--json -o rows.jsonl' is fine: the suffix says it more precisely.
        if asked and own not in (None, asked, f"{asked}l"):
            raise ConfigError(
                f"--{asked} contradicts the name {file}",
                hint=f"leave out --{asked}, or end the name in .{asked}",
            )
        return cls(own or asked or "table", file, annotate)
