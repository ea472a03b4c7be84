"""One table of a study file: reads its keys by type, and refuses those that it does not know."""

from __future__ import annotations

import math
import tomllib
from typing import TYPE_CHECKING, Any

from mien.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Entry:
    """A table of a study file, such as the second `[[session]]`.

    Args:
        values: its keys and values.
        where: the table and the file, for messages.
    """

    def __init__(self, values: Any, where: str) -> None:
        self.where = where
        if not isinstance(values, dict):
            raise DataError(
                f"{where}: {values!r} is no table of keys", hint="write [[name]], then key = value"
            )
        self._values: Mapping[str, Any] = values
        self._known: list[str] = []

    def has(self, key: str) -> bool:
        """Return whether the table has a key."""
        self._known.append(key)
        return key in self._values

    def text(self, key: str) -> str | None:
        """Return a text, or None where the key is absent; an empty text is refused."""
        if not self.has(key):
            return None
        value = self._values[key]
        # Numbers are natural names of participants: id = 12.
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, "a text")
        return value

    def some_text(self, key: str) -> str:
        """Return a text that must be there."""
        value = self.text(key)
        if value is None:
            raise self.absent(key)
        return value

    def number(self, key: str) -> float | None:
        """Return a finite number, or None where the key is absent."""
        if not self.has(key):
            return None
        return self._finite(self._values[key], key)

    def some_number(self, key: str) -> float:
        """Return a number that must be there."""
        value = self.number(key)
        if value is None:
            raise self.absent(key)
        return value

    def whole(self, key: str) -> int:
        """Return a whole number that must be there."""
        value = self.some_number(key)
        if value != int(value):
            raise self.wrong(key, "a whole number")
        return int(value)

    def span(self) -> tuple[float, float]:
        """Return `start_s` and `end_s`.

        Raises:
            DataError: one is absent, or the end is not after the start.
        """
        start_s, end_s = self.some_number("start_s"), self.some_number("end_s")
        if end_s <= start_s:
            raise DataError(
                f"{self.where}: starts at {start_s:g} s and ends at {end_s:g} s",
                hint="end_s must be greater than start_s; both are seconds of the video",
            )
        return start_s, end_s

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; empty where the key is absent."""
        found = []
        for value in self.values(key):
            if isinstance(value, int) and not isinstance(value, bool):
                found.append(str(value))
            elif isinstance(value, str) and value.strip():
                found.append(value)
            else:
                raise self.wrong(key, "a list of texts")
        return tuple(found)

    def values(self, key: str) -> Sequence[Any]:
        """Return a list of any values; empty where the key is absent."""
        if not self.has(key):
            return ()
        value = self._values[key]
        if not isinstance(value, list):
            raise self.wrong(key, "a list in [ ]")
        return value

    def part(self, key: str) -> Entry | None:
        """Return a table inside this one, or None where the key is absent."""
        return Entry(self._values[key], f"{self.where}, {key}") if self.has(key) else None

    def pairs(self, key: str) -> tuple[tuple[float, float], ...]:
        """Return a list of pairs of numbers; empty where the key is absent."""
        found = []
        for value in self.values(key):
            if not isinstance(value, list) or len(value) != 2:
                raise self.wrong(key, "a list of pairs, such as [[0.0, 12.5], [600.0, 612.6]]")
            found.append((self._finite(value[0], key), self._finite(value[1], key)))
        return tuple(found)

    def others(self) -> dict[str, str | int | float | bool]:
        """Return all keys that were not asked for: a participant's variables."""
        found = {k: v for k, v in self._values.items() if k not in self._known}
        for key, value in found.items():
            if not isinstance(value, str | int | float | bool):
                raise self.wrong(key, "a text or a number")
        return found

    def refuse_others(self) -> None:
        """Refuse keys that were not asked for.

        Raises:
            DataError: the table has such a key; names the nearest known one.
        """
        refuse_unknown(self._values, self._known, self.where)

    def wrong(self, key: str, needed: str) -> DataError:
        """Return the error for a key whose value is of another kind."""
        return DataError(
            f"{self.where}: {key} = {self._values[key]!r} is not {needed}",
            hint=f"give {key} {needed}",
        )

    def absent(self, key: str) -> DataError:
        """Return the error for a key that is not there."""
        return DataError(f"{self.where}: the key {key!r} is missing", hint=f"add {key} = ...")

    def _finite(self, value: Any, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
            raise self.wrong(key, "a number")
        if math.isnan(value):
            raise self.wrong(key, "a number")
        return float(value)


def refuse_unknown(found: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Refuse keys that are not known.

    Raises:
        DataError: names the first unknown key and the nearest known one.
    """
    for key in found:
        if key not in known:
            raise DataError(
                f"{where}: the key {key!r} is unknown",
                hint=f"{did_you_mean(key, known)}known: {', '.join(dict.fromkeys(known))}",
            )


def parse_toml(content: bytes, path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        DataError: it is no UTF-8 or no TOML; names the line.
    """
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: a character is not UTF-8", hint="save the file as UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise DataError(
            f"{path} is damaged: {error}", hint="correct this line; texts stand in quotes"
        ) from error
