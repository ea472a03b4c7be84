"""Levels of detail against a plain loop over all rows."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mien.video.bins import NONE, SCALE
from mien.viewer.levels import Pyramid, encode
from mien.viewer.results import Piece, SourceRows, load_results


@pytest.fixture(scope="module")
def source(drawn: Path) -> SourceRows:
    return load_results(drawn / "results").sources[0]


def pyramid(source: SourceRows, *tracks: int) -> Pyramid:
    return Pyramid(source, source.rows_of([Piece(track) for track in tracks]))


@pytest.mark.parametrize("bins", [1, 7, 50, 175, 700, 5000])
def test_bins_have_mean_minimum_and_maximum_of_their_rows(source: SourceRows, bins: int) -> None:
    number, first, level = pyramid(source, 2, 3).query(3.0, 20.0, bins)
    assert len(level.code_b) <= 2 * bins + 2
    chosen = source.rows_of([Piece(2), Piece(3)])
    bin_m = (source.time_n[chosen] / source.step_s + 0.5).astype(int) // 2**number
    for place, (probs, code) in enumerate(zip(level.probs_bk3, level.code_b, strict=True)):
        own = chosen[bin_m == first + place]
        if not len(own):
            assert code == NONE
            continue
        rows = source.probs_nk[own]
        wanted = np.stack([rows.mean(axis=0), rows.min(axis=0), rows.max(axis=0)], axis=1)
        assert np.abs(probs / SCALE - wanted).max() <= 0.5 / SCALE + 1e-6
        counts = np.bincount(source.code_n[own])
        assert counts[code] == counts.max()


def test_a_time_without_a_face_is_empty_at_every_level(source: SourceRows) -> None:
    for bins in (20, 200, 700):
        number, first, level = pyramid(source, 2, 3).query(14.6, 16.4, bins)
        middle = (first + np.arange(len(level.code_b)) + 0.5) * source.step_s * 2**number
        inside = (middle > 14.7) & (middle < 16.3)
        assert inside.any()
        assert (level.code_b[inside] == NONE).all()
        assert (level.probs_bk3[inside] == 0).all()


def test_faces_that_were_not_classified_have_no_probabilities(source: SourceRows) -> None:
    probs, codes = source.probs_nk.copy(), source.code_n.copy()
    own = source.rows_of([Piece(1, 5.0, 6.0)])
    probs[own], codes[own] = np.nan, 4
    from dataclasses import replace

    changed = replace(source, probs_nk=probs, code_n=codes)
    _, _, level = pyramid(changed, 1).query(5.2, 5.8, 700)
    assert set(level.code_b) == {4}
    assert (level.probs_bk3 == 0).all()


def test_rows_that_come_rarely_leave_no_holes(source: SourceRows) -> None:
    kept = source.rows_of([Piece(1)])[::5]
    _, _, level = Pyramid(source, kept).query(2.0, 10.0, 700)
    assert NONE not in level.code_b


def test_bytes_hold_what_the_page_reads(source: SourceRows) -> None:
    lanes = [pyramid(source, 1), pyramid(source, 2, 3)]
    content = encode(lanes, 0, 28, 100)
    width, start, bins, count = struct.unpack_from("<ddII", content)
    assert count == 2
    assert bins <= 200
    assert start == pytest.approx(-source.step_s / 2)
    assert bins * width >= 28
    assert len(content) == 24 + count * bins * (3 * 3 + 1)
    own = lanes[1].at(2, 0, bins)
    assert content[-bins:] == own.code_b.tobytes()


def test_a_source_without_a_face_has_empty_bins(source: SourceRows) -> None:
    _, _, level = Pyramid(source, np.zeros(0, np.int64)).query(0, 28, 100)
    assert set(level.code_b) == {NONE}
