"""Events of BIDS, ELAN, Praat and LSL, written by others' software or by its own format."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from pympi.Elan import Eaf

from mien.errors import DataError
from mien.sessions.clocks import Mapping
from mien.sessions.design import Clock
from mien.sessions.event_files import FileEvent, read_events

TEXTGRID = """\
File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 10
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "Anna"
        xmin = 0
        xmax = 10
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 2.5
            text = ""
        intervals [2]:
            xmin = 2.5
            xmax = 4
            text = "grüßt"
        intervals [3]:
            xmin = 4
            xmax = 10
            text = ""
    item [2]:
        class = "TextTier"
        name = "clap"
        xmin = 0
        xmax = 10
        points: size = 1
        points [1]:
            number = 1.25
            mark = "clap"
"""


def xdf(markers: list[tuple[float, str]]) -> bytes:
    """Return a recording with a stream of markers and one of numbers (XDF 1.0)."""

    def chunk(tag: int, content: bytes) -> bytes:
        return b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content

    def header(number: int, name: str, kind: str, form: str) -> bytes:
        text = (
            f'<?xml version="1.0"?><info><name>{name}</name><type>{kind}</type>'
            f"<channel_count>1</channel_count><nominal_srate>0</nominal_srate>"
            f"<channel_format>{form}</channel_format></info>"
        )
        return chunk(2, struct.pack("<I", number) + text.encode())

    samples = b"".join(
        b"\x08" + struct.pack("<d", at) + b"\x01" + bytes([len(text.encode())]) + text.encode()
        for at, text in markers
    )
    numbers = b"\x08" + struct.pack("<d", 1000.5) + struct.pack("<f", 3.0)
    about = chunk(1, b'<?xml version="1.0"?><info><version>1.0</version></info>')
    return b"".join((
        b"XDF:", about, header(1, "stimuli", "Markers", "string"),
        header(2, "ecg", "ECG", "float32"),
        chunk(3, struct.pack("<I", 1) + b"\x01" + bytes([len(markers)]) + samples),
        chunk(3, struct.pack("<I", 2) + b"\x01\x01" + numbers),
    ))  # fmt: skip


def test_bids(tmp_path: Path) -> None:
    path = tmp_path / "sub-01_events.tsv"
    path.write_text(
        "onset\tduration\ttrial_type\tresponse_time\n3.5\t2\tfilm\tn/a\n1\tn/a\tstart\t0.3\n"
        "n/a\t1\tlost\t1\n5\t0\tn/a\t1\n",
        encoding="utf-8-sig",
    )
    *timed, lost = read_events(path)
    assert timed == [
        FileEvent("start", 1.0, 0.0, ""),
        FileEvent("film", 3.5, 2.0, ""),
        FileEvent("event", 5.0, 0.0, ""),
    ]
    assert lost.name == "lost"
    assert math.isnan(lost.start_s), "a time that the file does not know is not made up"


def test_elan_and_its_tiers(tmp_path: Path) -> None:
    path = tmp_path / "a.eaf"
    eaf = Eaf()
    eaf.remove_tier("default")
    for tier, start, name in (("Anna", 500, "smile"), ("Ben", 200, "nod")):
        eaf.add_tier(tier)
        eaf.add_annotation(tier, start, start + 1000, name)
    eaf.to_file(str(path))
    both = [FileEvent("nod", 0.2, 1.0, "Ben"), FileEvent("smile", 0.5, 1.0, "Anna")]
    assert read_events(path) == both
    assert read_events(path, ["Anna"]) == both[1:]
    with pytest.raises(DataError, match="has no tier 'Ana'") as raised:
        read_events(path, ["Ana"])
    assert "did you mean 'Anna'" in raised.value.hint


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le-bom"])
def test_praat_points_and_intervals(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.TextGrid"
    if encoding == "utf-16-le-bom":
        path.write_bytes(b"\xff\xfe" + TEXTGRID.encode("utf-16-le"))
    else:
        path.write_text(TEXTGRID, encoding=encoding)
    assert read_events(path) == [
        FileEvent("clap", 1.25, 0.0, "clap"),
        FileEvent("grüßt", 2.5, 1.5, "Anna"),
    ]


def test_lsl(tmp_path: Path) -> None:
    path = tmp_path / "a.xdf"
    path.write_bytes(xdf([(1002.5, "laugh"), (1001.0, "start"), (1003.0, " ")]))
    assert read_events(path) == [
        FileEvent("start", 1001.0, 0.0, "stimuli"),
        FileEvent("laugh", 1002.5, 0.0, "stimuli"),
    ]
    with pytest.raises(DataError, match="no tier 'ecg'"):
        read_events(path, ["ecg"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"start\tduration\n1\t2\n", "the column 'onset' is missing"),
        ("a.tsv", b"onset\tduration\n1\t2\nx\t2\n", "line 3: onset = 'x' is not a number"),
        ("a.tsv", b"onset\tduration\n1\tinf\n", "line 2: duration = 'inf' is not a number"),
        ("a.tsv", b"onset\n\xff\xff", "cannot be read"),
        ("a.xdf", b"nothing", "cannot be read as an XDF file"),
        ("a.xdf", xdf([(1.0, "a")])[:-9], None),
        ("a.xdf", b"", "a.xdf is empty"),
        ("a.eaf", b"<x", "cannot be read as an ELAN file: it is damaged or ends too early"),
        ("a.eaf", b"", "cannot be read as an ELAN file: the file is empty"),
        ("a.eaf", b"<html></html>", "it is <html>, not <ANNOTATION_DOCUMENT>"),
        ("a.TextGrid", b"nothing", "cannot be read as a TextGrid: its first lines do not say"),
        ("a.TextGrid", b"", "cannot be read as a TextGrid: the file is empty"),
        ("a.TextGrid", TEXTGRID[:150].encode(), "it is damaged or ends too early, at 150 bytes"),
        ("a.TextGrid", f"{TEXTGRID}Lächeln".encode("latin-1"), "neither UTF-8 nor UTF-16"),
        ("a.mp4", b"", "is no file of events"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str | None) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if message is None:  # a recording that was cut off still has its markers
        assert read_events(path) == [FileEvent("a", 1.0, 0.0, "stimuli")]
        return
    with pytest.raises(DataError, match=message):
        read_events(path)
    with pytest.raises(DataError, match="no such file"):
        read_events(tmp_path / "b.tsv")
    with pytest.raises(DataError, match="is a folder"):
        read_events(tmp_path)


def test_clocks() -> None:
    assert Mapping(None, "").to_video(3.5) == 3.5
    assert Mapping(Clock(2.0, 100.0), "").to_video(1000.0) == pytest.approx(1002.1)
    true = Mapping(Clock(-70_000.0, -35.0), "")
    shared = tuple((true.to_video(t), t) for t in (70_010.0, 73_000.0))
    line = Mapping(Clock(shared=shared), "")
    assert line.drift_ppm == pytest.approx(-35.0, abs=1e-3)
    assert line.to_video(71_234.5) == pytest.approx(true.to_video(71_234.5), abs=1e-6)
    assert line.residual_s < 1e-6
    third = ((0.0, 0.0), (100.02, 100.0), (200.0, 200.0))
    assert Mapping(Clock(shared=third), "").residual_s == pytest.approx(0.0133, abs=1e-3)
    with pytest.raises(DataError, match="drift by 50,000 ppm"):
        Mapping(Clock(shared=((0.0, 0.0), (105.0, 100.0))), "session s1")
