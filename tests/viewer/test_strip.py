"""Previews for scrubbing: key frames on sheets, compared with the frames themselves."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mien.video.key_frames import key_frames
from mien.viewer.media import frame_at
from mien.viewer.strip import MAX_SHEETS, SHEET, make_sheet, sheet_times
from tests.viewer.sessions import RATE
from tests.viewer.test_app import make_client


def remuxed(source: Path, target: Path) -> Path:
    with av.open(str(source)) as container, av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(container.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return target


@pytest.mark.parametrize("end_s", [0.4, 3.0, 28.0, 7200.0, 86_400.0])
def test_each_sheet_is_spread_over_the_video(end_s: float) -> None:
    first, sheets = sheet_times(end_s, 0)
    found = [sheet_times(end_s, number)[0] for number in range(sheets)]
    everything = sorted(time for times in found for time in times)
    assert sheets <= MAX_SHEETS
    assert all(len(times) <= SHEET for times in found)
    step = end_s / len(everything)
    assert np.allclose(np.diff(everything), step)
    assert everything[0] == pytest.approx(step / 2)
    assert np.diff([0, *first, end_s]).max() <= (sheets + 0.51) * step
    assert sheet_times(end_s, sheets)[0] == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_previews_are_the_key_frames_before_their_moments(
    drawn: Path, tmp_path: Path, suffix: str
) -> None:
    video = remuxed(drawn / "interview.mp4", tmp_path / f"clip{suffix}")
    found = list(key_frames(video, [0.0, 2.5, 15.99, 27.9], 160))
    assert [time for time, _ in found] == pytest.approx([0, 2, 15, 27], abs=1.5 / RATE)
    for time_s, pixels in found:
        assert pixels.shape == (90, 160, 3)
        frame = Image.fromarray(frame_at(video, time_s)).resize((160, 90), Image.Resampling.BOX)
        assert np.abs(pixels.astype(int) - np.asarray(frame)).mean() < 6  # another label: above 9
    assert np.abs(found[1][1].astype(int) - found[2][1]).mean() > 9  # one is away


def test_containers_without_an_index_have_none(drawn: Path, tmp_path: Path) -> None:
    video = remuxed(drawn / "interview.mp4", tmp_path / "clip.ts")
    assert list(key_frames(video, [2.5], 160)) == []
    assert make_sheet(video, 28.0, 0) is None


def test_a_sheet_is_an_image_with_times(drawn: Path, results: Path) -> None:
    sheet = make_sheet(drawn / "interview.mp4", 28.0, 0)
    assert sheet is not None
    assert (sheet.sheets, sheet.size, len(sheet.times_s)) == (2, (320, 180), 14)
    image = np.asarray(Image.open(io.BytesIO(sheet.jpeg)).convert("RGB"))
    assert image.shape == (3 * 180, 5 * 320, 3)
    third = image[:180, 640:960].astype(int)
    (_, wanted), = key_frames(drawn / "interview.mp4", [sheet.times_s[2]], 320)  # fmt: skip
    assert np.abs(third - wanted).mean() < 4
    with make_client(results) as client:
        answer = client.get("/v1/sources/0/sheets/0.jpg")
        assert answer.content == sheet.jpeg
        assert answer.headers["x-sheets"] == "2"
        assert answer.headers["x-size"] == "320x180"
        assert answer.headers["x-times"].split(",")[1] == str(sheet.times_s[1])
        assert client.get("/v1/sources/0/sheets/9.jpg").status_code == 204
        assert client.get("/v1/sources/9/sheets/0.jpg").status_code == 404


def test_no_sheets_of_a_video_that_is_gone(drawn: Path, results: Path, tmp_path: Path) -> None:
    video = Path(shutil.copy(drawn / "interview.mp4", tmp_path / "gone.mp4"))
    text = (results / "interview.csv").read_text().replace(str(drawn / "interview.mp4"), str(video))
    (results / "interview.csv").write_text(text)
    with make_client(results) as client:
        video.write_bytes(b"no video")
        answer = client.get("/v1/sources/0/sheets/0.jpg")
        assert answer.status_code >= 400
        assert "gone.mp4" in answer.json()["detail"]
