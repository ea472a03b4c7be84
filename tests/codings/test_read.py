"""Codings of every kind are read alike, and damaged ones are refused with the place."""

from __future__ import annotations

from pathlib import Path

import pytest
from praatio import textgrid
from praatio.data_classes.interval_tier import IntervalTier
from praatio.utilities.constants import Interval
from pympi.Elan import Eaf

from mien.codings.coding import MISSING, Segment, fill_gaps, make_tier
from mien.codings.read import read_coding
from mien.errors import DataError

EXPECTED = (Segment(0.5, 2.0, "happy"), Segment(2.0, 3.25, "neutral"), Segment(4.0, 5.5, "sad"))
SPELLED = ("Happiness", "neutral", "SAD")


def write_elan(path: Path, tier: str = "expression") -> Path:
    document = Eaf()
    document.add_tier(tier)
    for segment, label in zip(EXPECTED, SPELLED, strict=True):
        times = (round(1000 * segment.start_s), round(1000 * segment.end_s))
        document.add_annotation(tier, *times, label)
    document.to_file(str(path))
    return path


def write_praat(path: Path, encoding: str = "utf-8") -> Path:
    grid = textgrid.Textgrid(0, 6)
    entries = [Interval(s.start_s, s.end_s, n) for s, n in zip(EXPECTED, SPELLED, strict=True)]
    grid.addTier(IntervalTier("expression", entries, 0, 6))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)
    path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    return path


def write_table(path: Path, head: str, lines: str) -> Path:
    path.write_text(f"{head}\n{lines}", encoding="utf-8")
    return path


TABLES = {
    "segments.csv": ("start,end,label", "0.5,2,Happiness\n2,3.25,neutral\n4,5.5,SAD\n"),
    "events.tsv": (
        "onset\tduration\ttrial_type",
        "0.5\t1.5\tHappiness\n2\t1.25\tneutral\n3.5\tn/a\tn/a\n4\t1.5\tSAD\n",
    ),
    "german.csv": ("Start;End;Label", "0.5;2;Happiness\n2;3.25;neutral\n4;5.5;SAD\n"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_segments(name: str, tmp_path: Path) -> None:
    coding = read_coding(write_table(tmp_path / name, *TABLES[name]))
    assert [tier.segments for tier in coding.tiers] == [EXPECTED]
    assert not coding.is_sampled


def test_elan(tmp_path: Path) -> None:
    (tier,) = read_coding(write_elan(tmp_path / "a.eaf")).tiers
    assert (tier.name, tier.segments) == ("expression", EXPECTED)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_praat(tmp_path: Path, encoding: str) -> None:
    (tier,) = read_coding(write_praat(tmp_path / "a.TextGrid", encoding)).tiers
    assert (tier.name, tier.segments) == ("expression", EXPECTED)


DEPENDENT = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"/>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/>
    <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1000"/>
    <TIME_SLOT TIME_SLOT_ID="ts3"/>
    <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="4000"/>
    <TIME_SLOT TIME_SLOT_ID="ts5" TIME_VALUE="4000"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="plain" TIER_ID="whole">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1"
      TIME_SLOT_REF2="ts5"><ANNOTATION_VALUE>sad</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="cut" PARENT_REF="whole" TIER_ID="cut">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2"
      TIME_SLOT_REF2="ts3"><ANNOTATION_VALUE>happy</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts3"
      TIME_SLOT_REF2="ts4"><ANNOTATION_VALUE>sad</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="parts" PARENT_REF="whole" TIER_ID="parts">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a4" ANNOTATION_REF="a1">
      <ANNOTATION_VALUE>happy</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a5" ANNOTATION_REF="a1" PREVIOUS_ANNOTATION="a4">
      <ANNOTATION_VALUE>neutral</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a6" ANNOTATION_REF="a1" PREVIOUS_ANNOTATION="a5">
      <ANNOTATION_VALUE>sad</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


def test_elan_spreads_unaligned_and_subdivided_times(tmp_path: Path) -> None:
    path = tmp_path / "a.eaf"
    path.write_text(DEPENDENT, encoding="utf-8")
    tiers = {tier.name: tier.segments for tier in read_coding(path).tiers}
    assert tiers["cut"] == (Segment(1.0, 2.5, "happy"), Segment(2.5, 4.0, "sad"))
    assert tiers["parts"] == (
        Segment(1.0, 2.0, "happy"), Segment(2.0, 3.0, "neutral"), Segment(3.0, 4.0, "sad"),
    )  # fmt: skip


ROWS = "source,frame,time_s,track,label,unsure\n"


def test_rows_of_a_video_become_segments(tmp_path: Path) -> None:
    rows = [(0.0, 1, "happy"), (0.1, 1, "happy"), (0.2, 1, "sad"), (0.3, 1, "sad"), (2.0, 2, "sad")]
    body = "".join(f"v.mp4,{n},{t},{k},{label},false\n" for n, (t, k, label) in enumerate(rows))
    coding = read_coding(write_table(tmp_path / "rows.csv", ROWS.strip(), body))
    # Two tracks that are never seen together are one person, whom tracking lost.
    (tier,) = coding.tiers
    assert coding.is_sampled
    assert tier.name == "face"
    assert [(round(s.start_s, 6), round(s.end_s, 6), s.label) for s in tier.segments] == [
        (0.0, 0.2, "happy"), (0.2, 0.4, "sad"), (2.0, 2.1, "sad"),
    ]  # fmt: skip


def test_rows_of_two_faces_and_unsure_ones(tmp_path: Path) -> None:
    body = (
        "v.mp4,0,0.0,1,happy,false\nv.mp4,0,0.0,2,sad,false\n"
        "v.mp4,1,0.1,1,unsure,true\nv.mp4,1,0.1,2,sad,false\nv.mp4,2,0.2,,,\n"
    )
    coding = read_coding(write_table(tmp_path / "rows.csv", ROWS.strip(), body))
    assert {tier.name: len(tier.segments) for tier in coding.tiers} == {"track 1": 1, "track 2": 1}
    assert coding.tiers[0].segments[0].end_s == pytest.approx(0.1)  # what follows is unsure


def test_videos_of_different_rates_keep_their_own_steps(tmp_path: Path) -> None:
    """Times of all videos together would be closer than those of either."""
    body = "".join(
        f"{video},{n},{n / rate:.6f},1,happy,false\n"
        for video, rate in (("a.mp4", 25), ("b.mp4", 30))
        for n in range(50)
        if n != 20  # one frame in which the face is not seen
    )
    coding = read_coding(write_table(tmp_path / "rows.csv", ROWS.strip(), body))
    lengths = {tier.name: [s.end_s - s.start_s for s in tier.segments] for tier in coding.tiers}
    assert lengths == {
        "a.mp4, track 1": [pytest.approx(2.0)],
        "b.mp4, track 1": [pytest.approx(50 / 30, abs=1e-5)],
    }  # fmt: skip


def test_labels_are_renamed(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", "start,end,label", "0,1,Lachen\n1,2,happy\n")
    (tier,) = read_coding(path, {"lachen": "happy"}).tiers
    assert tier.segments == (Segment(0.0, 2.0, "happy"),)


BAD = {
    "overlap.csv": ("start,end,label\n0,2,happy\n1,3,sad\n", "'happy' (0 to 2 s) overlaps 'sad'"),
    "backwards.csv": ("start,end,label\n2,1,happy\n", "starts at 2 s and ends at 1 s"),
    "text.csv": ("start,end,label\n0,soon,happy\n", "line 2, end: 'soon' is no number"),
    "nan.csv": ("start,end,label\nnan,1,happy\n", "line 2, start: 'nan' is no number"),
    "columns.csv": ("from,to,label\n0,1,happy\n", "no column with a start; it has from, to"),
    "empty.csv": ("", "no column with a start; it has none"),
    "unlabelled.csv": ("start,end,label\n0,1,\n", "has no labelled segment"),
    "broken.eaf": ("<ANNOTATION_DOCUMENT><TIER", "cannot be read as an ELAN file"),
    "other.eaf": ("<html></html>", "cannot be read as an ELAN file"),
    "broken.TextGrid": ('File type = "ooTextFile"\nObject', "cannot be read as a TextGrid"),
    "notes.txt": ("hello", ".txt is no coding that mien reads"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_coding(path)
    assert message in caught.value.message
    assert name in caught.value.message


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_coding(tmp_path / "none.eaf")


def test_truncated_files_of_every_kind_never_crash(tmp_path: Path) -> None:
    for path in (write_elan(tmp_path / "a.eaf"), write_praat(tmp_path / "b.TextGrid")):
        whole = path.read_bytes()
        for part in range(0, len(whole) - 1, 37):
            path.write_bytes(whole[:part])
            try:
                read_coding(path)
            except DataError as error:
                assert path.name in error.message


def test_a_label_at_a_time() -> None:
    import numpy as np

    tier = make_tier("t", EXPECTED, "here")
    numbers = tier.numbers_at(np.array([0.0, 0.5, 1.9, 2.0, 3.5, 5.5]), ("happy", "neutral"))
    assert numbers.tolist() == [MISSING, 0, 0, 1, MISSING, MISSING]
    filled = fill_gaps(tier, "neutral", (0.0, 6.0))
    assert [s.label for s in filled.segments] == [
        "neutral", "happy", "neutral", "neutral", "sad", "neutral",
    ]  # fmt: skip
