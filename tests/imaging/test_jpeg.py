"""JPEGs without their end: read where all pixels are there, else refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mien.errors import SourceError
from mien.imaging.codec import NO_END_MARKER, decode_with_notes
from mien.imaging.jpeg import END

FORMS: dict[str, dict[str, object]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "fine": {"subsampling": 0, "quality": 95},
    "restarts": {"restart_marker_rows": 1},
}


def encoded(form: str) -> bytes:
    noise = np.random.default_rng(3).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)
    image.save(buffer, "JPEG", **FORMS[form])
    content = buffer.getvalue()
    assert content.endswith(END)
    return content


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tail", [b"", b"\xff", bytes(32)])
def test_only_the_end_marker_is_missing(form: str, tail: bytes) -> None:
    content = encoded(form)
    whole, notes = decode_with_notes(content, "a")
    assert notes == ()
    pixels, notes = decode_with_notes(content[:-2] + tail, "a")
    assert np.array_equal(pixels, whole)
    assert notes in [(), (NO_END_MARKER,)]  # Pillow itself takes some


@pytest.mark.parametrize("form", ["baseline", "progressive"])
def test_the_note_says_so(form: str) -> None:
    assert decode_with_notes(encoded(form)[:-2], "a").notes == (NO_END_MARKER,)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lost", [6, 12, 40, 200, 900])
def test_missing_pixels_are_refused(form: str, lost: int) -> None:
    with pytest.raises(SourceError, match="a is damaged: image file is truncated"):
        decode_with_notes(encoded(form)[:-lost], "a")


def test_a_progressive_file_cut_between_two_scans_is_refused() -> None:
    content = encoded("progressive")
    scans = [i for i in range(len(content) - 1) if content[i : i + 2] == b"\xff\xda"]
    tables = content.rfind(b"\xff\xc4", 0, scans[-1])
    end = max(tables, scans[-2]) if tables > scans[-2] else scans[-1]
    with pytest.raises(SourceError, match="a is damaged"):
        decode_with_notes(content[:end], "a")
