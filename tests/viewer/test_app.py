"""The viewer's addresses: ranges of a video, faces, who may ask, and what is refused."""

from __future__ import annotations

import io
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mien.cli.main import run
from mien.errors import ConfigError
from mien.report.web import VIEW
from mien.video.locate import locate_video
from mien.viewer.app import create_app, make_assets, page_assets, viewer_settings
from mien.viewer.editor import Editor
from mien.viewer.media import find_video
from mien.viewer.results import load_results
from mien.viewer.routes import View

testclient = pytest.importorskip("starlette.testclient", reason="httpx is not installed")
BASE = "http://127.0.0.1:8001"


def make_client(results: Path) -> Any:
    loaded = load_results(results)
    editor = Editor(loaded, results / "people.json", results / "study.toml")
    view = View.make(loaded, editor, make_assets())
    return testclient.TestClient(create_app(view, viewer_settings(0)), base_url=BASE)


@pytest.fixture
def client(results: Path) -> Iterator[Any]:
    with make_client(results) as one:
        yield one


def change(client: Any, action: str, **values: Any) -> Any:
    versions = client.get("/v1/view").json()["versions"]
    return client.post("/v1/edits", json={"action": action, "versions": versions, **values})


def test_the_state_names_sources_and_lanes(client: Any) -> None:
    state = client.get("/v1/view").json()
    (source,) = state["sources"]
    assert [lane["id"] for lane in source["lanes"]] == ["P1", "P2", "P3"]
    assert len(source["lanes"][0]["faces"]) == 6
    assert source["lanes"][0]["fractions"]["happy"] == pytest.approx(0.46, abs=0.05)
    assert source["video"] == "/v1/sources/0/video"


def test_levels_are_bytes_of_the_visible_range(client: Any) -> None:
    answer = client.get("/v1/sources/0/levels?lanes=P1,P3&start_s=4&end_s=8&columns=50")
    width, start, bins, lanes = struct.unpack_from("<ddII", answer.content)
    assert (lanes, width) == (2, pytest.approx(0.08))
    assert start <= 4
    assert start + bins * width >= 8
    assert client.get("/v1/sources/0/levels?lanes=P9&start_s=4&end_s=8").status_code == 404
    wrong = client.get("/v1/sources/0/levels?lanes=P1&start_s=4&end_s=8&columns=0")
    assert wrong.status_code == 422
    assert "out of range" in wrong.json()["detail"]


def test_exact_rows_have_boxes(client: Any) -> None:
    found = client.get("/v1/sources/0/moments?start_s=1&end_s=2").json()
    assert len(found["time_s"]) == 50
    assert set(found["lane"]) == {"P1", "P2"}
    assert found["box"][0] == [75.0, 75.0, 245.0, 285.0]


def test_the_video_is_served_in_ranges(client: Any, drawn: Path) -> None:
    content = (drawn / "interview.mp4").read_bytes()
    whole = client.get("/v1/sources/0/video")
    assert whole.content == content
    assert whole.headers["content-type"] == "video/mp4"
    part = client.get("/v1/sources/0/video", headers={"range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == content[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    tail = client.get("/v1/sources/0/video", headers={"range": "bytes=-50"})
    assert tail.content == content[-50:]
    wrong = client.get("/v1/sources/0/video", headers={"range": "lines=1-2"})
    assert wrong.status_code == 200


def test_faces_and_frames_are_images(client: Any) -> None:
    src = client.get("/v1/view").json()["sources"][0]["lanes"][1]["faces"][0]["src"]
    face = Image.open(io.BytesIO(client.get(src).content))
    assert face.size == (112, 112)
    frame = Image.open(io.BytesIO(client.get("/v1/sources/0/frame.jpg?time_s=5").content))
    assert frame.size == (640, 360)
    assert client.get("/v1/sources/0/faces/1/99999.jpg").status_code == 404
    assert client.get("/v1/sources/7/frame.jpg?time_s=5").status_code == 404


def test_only_pages_of_this_server_may_ask(client: Any) -> None:
    answer = client.get("/v1/view", headers={"host": "evil.example"})
    assert answer.status_code == 421
    answer = client.post("/v1/edits", json={}, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403
    headers = client.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert client.get("/v1/view").headers["cache-control"] == "no-store"
    for path in ("/assets/view/../app.py", "/assets/view/%2e%2e/app.py", "/assets/app/main.js"):
        assert client.get(path).status_code == 404, path


def test_edits_are_answered_with_the_new_state(client: Any, results: Path) -> None:
    state = change(client, "rename", person="P1", name="Anna").json()
    assert state["sources"][0]["lanes"][0]["name"] == "Anna"
    assert state["undo"] == 1
    refused = change(client, "merge", into="P1", other="P2")
    assert refused.status_code == 422
    assert "frame 0" in refused.json()["detail"]
    (results / "people.json").write_text((results / "people.json").read_text() + "\n")
    answer = client.post(
        "/v1/edits",
        json={"action": "rename", "person": "P1", "name": "B", "versions": state["versions"]},
    )
    assert answer.status_code == 409


def test_damage_after_the_start_is_reported(client: Any, results: Path) -> None:
    (results / "study.toml").write_text("[[event]\n")
    answer = client.get("/v1/view")
    assert answer.status_code == 422
    assert "line 1" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'"x"'])
def test_bodies_that_are_no_edits_are_refused(client: Any, body: bytes) -> None:
    assert client.post("/v1/edits", content=body).status_code == 422
    assert client.post("/v1/edits", content=b" " * 70_000).status_code == 413


def test_corrections_are_exported(client: Any, results: Path) -> None:
    assert client.post("/v1/export").status_code == 422
    source = client.get("/v1/view").json()["sources"][0]["name"]
    change(client, "correction", source=source, lane="P1", start_s=2, end_s=4, label="sad", by="m")
    found = client.post("/v1/export").json()
    assert found["images"] == 4
    assert (results / "corrections.npz").is_file()
    assert load_results(results).notes == ()


def test_a_missing_video_leaves_the_timeline(results: Path, drawn: Path, tmp_path: Path) -> None:
    text = (results / "interview.csv").read_text().replace(str(drawn), str(tmp_path / "gone"))
    (results / "interview.csv").write_text(text)
    with make_client(results) as client:
        (source,) = client.get("/v1/view").json()["sources"]
        assert source["video"] is None
        assert "was not found" in source["note"]
        assert client.get("/v1/sources/0/video").status_code == 404
        assert client.get("/v1/sources/0/levels?lanes=P1&start_s=0&end_s=8").status_code == 200


def test_a_video_is_found_by_its_name(results: Path, drawn: Path, tmp_path: Path) -> None:
    video = (drawn / "interview.mp4").resolve()
    (other := tmp_path / "videos").mkdir()
    assert locate_video(str(video), results).path == video
    assert locate_video("interview.mp4", drawn / "results").path == video
    assert locate_video("s3://bucket/a/interview.mp4", drawn / "results").path == video
    assert locate_video("sub/interview.mp4", results).path is None
    copy = Path(shutil.copy(video, other / "interview.mp4")).resolve()
    assert locate_video(str(video), results, other).path == copy
    gone = locate_video("camera:0", results)
    assert (gone.path, gone.note) == (None, "camera:0: a camera or stream is not stored")
    far = locate_video("s3://bucket/a/other.mp4", results)
    assert far.path is None
    assert "at an address" in far.note


def test_the_annotated_copy_stands_in_for_a_missing_video(
    results: Path, drawn: Path, tmp_path: Path
) -> None:
    text = (results / "interview.csv").read_text().replace(str(drawn), str(tmp_path / "gone"))
    (results / "interview.csv").write_text(text)
    copy = shutil.copy(drawn / "interview.mp4", results / "interview.annotated.mp4")
    found = find_video(load_results(results).sources[0], results)
    assert found.path == Path(copy)
    assert "was not found; this is its annotated copy" in found.note


def test_the_page_names_only_files_that_are_served() -> None:
    assets = page_assets()
    page = (VIEW / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    named = re.findall(r'(?:href|src)="(/assets[^"]*)"', page)
    modules = sorted((VIEW / "app").glob("*.js"))
    for module in modules:
        for name in re.findall(r'from "([^"]+)"', module.read_text(encoding="utf-8")):
            named.append(name if name.startswith("/") else f"/assets/view/app/{name[2:]}")
        assert len(module.read_text(encoding="utf-8").splitlines()) <= 400
    assert len(named) > 30
    assert [name for name in named if name not in assets] == []


def test_a_port_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="port"):
        viewer_settings(99_999)


def test_the_command_exports_and_refuses(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def mien(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run(["view", *map(str, words)])
        return int(ended.value.code or 0), *capsys.readouterr()

    code, _, err = mien(results, "--export", tmp_path / "faces.csv")
    assert code == 2
    assert "does not end in .npz" in err
    code, _, err = mien(results, "--export", tmp_path / "faces.npz")
    assert code == 1
    assert "no corrections" in err
    code, _, err = mien(tmp_path)
    assert code == 1
    assert "holds no rows of videos" in err
    with make_client(results) as client:
        source = client.get("/v1/view").json()["sources"][0]["name"]
        change(client, "correction", source=source, lane="P1", start_s=2, end_s=4, label="sad",
               by="m")  # fmt: skip
    code, out, _ = mien(results, "--export", tmp_path / "faces.npz")
    assert code == 0
    assert "4 faces with votes" in out
