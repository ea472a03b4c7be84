"""The files of a study's tables, in several formats; large tables are written piece by piece."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, MissingExtraError, did_you_mean
from mien.files import write_error, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

FORMATS = ("csv", "parquet", "feather", "sav", "r")
"""Formats of tables; 'r' is CSV and a script that fits a mixed model to it."""
SCRIPT = "model.R"


def check_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """Return formats without repetitions; 'r' brings csv.

    Raises:
        ConfigError: one is unknown.
        MissingExtraError: pyreadstat is not installed, which .sav needs.
    """
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(
                f"formats: {name!r} is unknown",
                hint=f"{did_you_mean(name, FORMATS)}known: {', '.join(FORMATS)}",
            )
    if "sav" in formats:
        _spss()
    return tuple(dict.fromkeys([*formats, *(["csv"] if "r" in formats else [])]))


def _spss() -> Any:
    try:
        import pyreadstat
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("sessions", "writing SPSS files") from error
    return pyreadstat


class Output:
    """Writes tables into a folder; files appear under their names when all are complete.

    Args:
        folder: created where it does not exist; files of other names in it stay.
        formats: of `check_formats`.
    """

    def __init__(self, folder: Path, formats: Sequence[str]) -> None:
        self._folder, self._formats = folder, [name for name in formats if name != "r"]
        self._writers: dict[str, Any] = {}
        self._whole: dict[str, list[Any]] = {}
        self.written: list[Path] = []

    def __enter__(self) -> Output:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # In the folder itself: renaming to another disk would be no renaming.
            self._place = Path(
                tempfile.mkdtemp(dir=self._folder, prefix=".tables.", suffix=".part")
            )
        except OSError as error:
            raise write_error(self._folder, error) from error
        return self

    def add(self, name: str, table: Any) -> None:
        """Add rows to a table; all pieces of one have the same columns."""
        try:
            for form in self._formats:
                if form == "sav":
                    self._whole.setdefault(name, []).append(table)
                    continue
                file = f"{name}.{form}"
                if file not in self._writers:
                    self._writers[file] = _WRITERS[form](self._place / file, table.schema)
                self._writers[file].write_table(table)
        except OSError as error:
            raise write_error(self._folder, error) from error

    def text(self, name: str, text: str) -> None:
        """Add a file of text."""
        write_text(self._place / name, text)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for writer in self._writers.values():
                writer.close()
            if kind is None:
                for name, pieces in self._whole.items():
                    _write_spss(self._place / f"{name}.sav", pieces)
                for file in sorted(self._place.iterdir()):
                    file.replace(self._folder / file.name)
                    self.written.append(self._folder / file.name)
        except OSError as failed:
            raise write_error(self._folder, failed) from failed
        finally:
            shutil.rmtree(self._place, ignore_errors=True)


def _csv(path: Path, schema: Any) -> Any:
    from pyarrow import csv as pa_csv

    return pa_csv.CSVWriter(str(path), schema, write_options=pa_csv.WriteOptions(
        quoting_style="needed"))  # fmt: skip


def _parquet(path: Path, schema: Any) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(str(path), schema, compression="zstd")


def _feather(path: Path, schema: Any) -> Any:
    import pyarrow as pa

    # Feather is Arrow's file format; R's and pandas' read_feather read it.
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    return pa.ipc.new_file(str(path), schema, options=options)


_WRITERS: dict[str, Callable[[Path, Any], Any]] = {
    "csv": _csv, "parquet": _parquet, "feather": _feather,
}  # fmt: skip


def _write_spss(path: Path, pieces: list[Any]) -> None:
    """Write a .sav file; SPSS has no null of text and no truth values: '' and 0 or 1."""
    import pyarrow as pa

    table = pa.concat_tables(pieces)
    frame = table.to_pandas()
    for field in table.schema:
        if pa.types.is_boolean(field.type) or pa.types.is_integer(field.type):
            frame[field.name] = frame[field.name].astype("float64")
        elif pa.types.is_string(field.type):
            frame[field.name] = frame[field.name].fillna("")
    names = spss_names(table.column_names)
    frame.columns = names
    _spss().write_sav(frame, str(path), column_labels=list(table.column_names))


def spss_names(names: Sequence[str]) -> list[str]:
    """Return names that SPSS takes: letters, digits, . and _, at most 64, none twice.

    A name's own text stays as the variable's label.
    """
    found: list[str] = []
    for name in names:
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "._") else "_" for c in name)
        # WITH, TO, BY and others are words of SPSS's own language.
        if not plain[:1].isalpha() or plain.upper() in _RESERVED:
            plain = f"v_{plain}"
        plain = plain[:60].rstrip(".")
        lower = [one.lower() for one in found]
        number, unique = 2, plain
        while unique.lower() in lower:
            unique, number = f"{plain}_{number}", number + 1
        found.append(unique)
    return found


_RESERVED = {"ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH"}
