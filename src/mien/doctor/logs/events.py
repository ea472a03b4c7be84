"""TensorBoard event files, read without TensorBoard.

A file is a row of records: length (8 bytes), its checksum (4), an Event message, its checksum (4).
Of the messages only step and scalar values are decoded (protocol buffers' wire format).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from mien.doctor.logs.checksum import masked_crc
from mien.errors import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LENGTH, HEADER, FOOTER = 8, 12, 4
MAX_CHECKED = 2**16
"""Bytes of a record without scalars up to which its checksum is compared."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FLOAT, DOUBLE = 1, 2
"""DT_FLOAT and DT_DOUBLE of a tensor."""


class Scalar(NamedTuple):
    """One logged value."""

    step: int
    tag: str
    value: float


def read_events(path: Path) -> tuple[list[Scalar], str]:
    """Return the scalars of an event file, and in sentences what could not be read, or ''.

    A training that was killed leaves a truncated record; what is before it is read. A record whose
    checksum is wrong is left out.

    Raises:
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    scalars: list[Scalar] = []
    place = number = damaged = 0
    remarks = []
    while place < len(content):
        number += 1
        message, fault = _record(content, place)
        if fault:
            remarks.append(f"{path.name} {fault} {number:,}; what is before it was read.")
            break
        end = place + HEADER + len(message)
        found = _decoded(message, content[end : end + FOOTER])
        if found is None:
            damaged += 1
        else:
            scalars += found
        place = end + FOOTER
    if damaged:
        were = "was" if damaged == 1 else "were"
        remarks.append(
            f"{path.name}: {damaged:,} of {counted(number, 'record')} {were} damaged and left out."
        )
    return scalars, " ".join(remarks)


def _record(content: bytes, place: int) -> tuple[bytes, str]:
    """Return the message of the record at `place`, and what prevents reading it, or ''."""
    start = place + HEADER
    if start > len(content):
        return b"", "ends within record"
    size, checksum = struct.unpack_from("<QI", content, place)
    # Where the next record begins is unknown without this one's length.
    if masked_crc(content[place : place + LENGTH]) != checksum:
        return b"", "is damaged in the length of record"
    if start + size + FOOTER > len(content):
        return b"", "ends within record"
    return content[start : start + size], ""


def _decoded(message: bytes, checksum: bytes) -> list[Scalar] | None:
    """Return the scalars of a message; None where it is damaged."""
    try:
        found = _event(message)
    except (ValueError, struct.error, IndexError):
        return None
    # Images of megabytes are not needed, and a megabyte's checksum takes Python about 0.3 s.
    if not found and len(message) > MAX_CHECKED:
        return found
    return found if masked_crc(message) == int.from_bytes(checksum, "little") else None


def _event(message: bytes) -> list[Scalar]:
    step, summary = 0, b""
    for field, value in _fields(message):
        # Event: 2 is the step, 5 the summary (tensorflow/core/util/event.proto).
        if field == 2 and isinstance(value, int):
            step = value
        elif field == 5 and isinstance(value, bytes):
            summary = value
    found = []
    for field, value in _fields(summary):
        if field == 1 and isinstance(value, bytes):
            tag, number = _value(value)
            if number is not None:
                found.append(Scalar(step, tag, number))
    return found


def _value(message: bytes) -> tuple[str, float | None]:
    """Return the tag and the number of a summary value; None where it is no number."""
    tag, number = "", None
    for field, value in _fields(message):
        if field == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif field == 2 and isinstance(value, bytes):
            (number,) = struct.unpack("<f", value)
        # Newer writers, such as TensorFlow 2's, store a tensor instead of a float.
        elif field == 8 and isinstance(value, bytes):
            number = _tensor(value)
    return tag, number


def _tensor(message: bytes) -> float | None:
    """Return the value of a tensor that holds a single float or double."""
    kind, content = 0, b""
    for field, value in _fields(message):
        if field == 1 and isinstance(value, int):
            kind = value
        # Raw bytes, packed floats or packed doubles, as the writer chose.
        elif field in (4, 5, 6) and isinstance(value, bytes):
            content = value
    form = {FLOAT: "<f", DOUBLE: "<d"}.get(kind)
    if form is None or len(content) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, content)[0])


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield each field's number and value; fixed-size values as bytes.

    Raises:
        ValueError: the message is damaged.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        # A key holds the field's number, and in its lowest three bits the wire type.
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            number, place = _varint(message, place)
            yield field, number
            continue
        if kind == BYTES:
            size, place = _varint(message, place)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} is not used in event files")
        if place + size > len(message):
            raise ValueError("a field is longer than its message")
        yield field, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        # Seven bits a byte, the lowest first; the eighth bit says that more follow.
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value, place
        if shift > 63:
            raise ValueError("a number has more than 64 bits")
