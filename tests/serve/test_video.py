from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.patience import PATIENCE_S, until
from tests.serve.running import SlowDetector, problem, running
from tests.video.clips import write_clip
from tests.video.media import animation, joined

from mien.serve.jobs import LEASE_S, MAX_ATTEMPTS, Jobs
from mien.serve.store import Store


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", 30).read_bytes()


def wait(server: httpx.Client, location: str, *statuses: str) -> dict[str, Any]:
    until(lambda: server.get(location).json()["status"] in statuses)
    return dict(server.get(location).json())


def files(folder: Path) -> list[str]:
    return sorted(p.name for f in ("uploads", "results") for p in (folder / "data" / f).iterdir())


def test_a_video_is_accepted_read_fetched_and_deleted(tmp_path: Path, clip: bytes) -> None:
    with running(tmp_path) as server:
        answer = server.post("/v1/video", files={"file": clip}, params={"every": 2})
        assert answer.status_code == 202
        job = answer.json()
        assert set(job) == {"id", "status", "progress", "error", "created"}
        assert job["status"] in ("queued", "running")
        location = answer.headers["Location"]
        assert location == f"/v1/video/{job['id']}"
        done = wait(server, location, "done")
        assert (done["progress"], done["error"]) == (1, None)
        assert not any(name == job["id"] for name in files(tmp_path))  # the video itself is gone
        result = server.get(f"{location}/result").json()
        assert [row["frame"] for row in result["rows"]] == list(range(0, 30, 2))
        assert {row["label"] for row in result["rows"]} == {"happy"}
        assert result["summary"]["tracks"][0]["fraction_of_time"] == {"happy": 1.0}
        table = server.get(f"{location}/result", params={"format": "csv"})
        assert table.headers["content-type"].startswith("text/csv")
        lines = table.text.splitlines()
        assert lines[0].startswith("source,frame,pts,time_s,track")
        assert len(lines) == 16
        assert str(tmp_path) not in table.text + str(result)
        problem(server.get(f"{location}/result", params={"format": "xml"}), 422)
        assert server.delete(location).status_code == 204
        problem(server.get(location), 404)
        problem(server.delete(location), 404)
        assert files(tmp_path) == []


def test_a_raw_body_is_a_video_too(tmp_path: Path, clip: bytes) -> None:
    with running(tmp_path) as server:
        answer = server.post("/v1/video", content=clip)
        wait(server, answer.headers["Location"], "done")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_is_a_video_too(tmp_path: Path, suffix: str) -> None:
    content = animation(tmp_path / f"a{suffix}", 5).read_bytes()
    with running(tmp_path) as server:
        location = server.post("/v1/video", content=content).headers["Location"]
        wait(server, location, "done")
        result = server.get(f"{location}/result").json()
        assert [row["time_s"] for row in result["rows"]] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
        assert result["summary"]["notes"] == []


def test_warnings_about_a_video_are_in_its_summary(tmp_path: Path) -> None:
    part = write_clip(tmp_path / "a.ts", 10)
    twice = joined(tmp_path / "twice.ts", part, part)
    with running(tmp_path) as server:
        location = server.post("/v1/video", content=twice.read_bytes()).headers["Location"]
        wait(server, location, "done")
        [note] = server.get(f"{location}/result").json()["summary"]["notes"]
        assert note.startswith("the video: the clock jumps back")


def test_a_running_job_is_cancelled_and_erased(tmp_path: Path, clip: bytes) -> None:
    detector = SlowDetector()
    with running(tmp_path, detector=detector) as server:
        location = server.post("/v1/video", content=clip).headers["Location"]
        assert detector.begun.wait(PATIENCE_S)
        assert "its status is 'running'" in problem(server.get(f"{location}/result"), 409)["detail"]
        assert server.delete(location).status_code == 204
        assert server.get(location).json()["status"] == "cancelled"
        assert "cancelled" in problem(server.get(f"{location}/result"), 409)["detail"]
        detector.open.set()
        next_one = server.post("/v1/video", content=clip).headers["Location"]
        wait(server, next_one, "done")
        assert [n for n in files(tmp_path) if n.startswith(location.split("/")[-1])] == []


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n" + b"#" * 600


@pytest.mark.parametrize(
    "content",
    [PLAYLIST, b"ffconcat version 1.0\nfile /etc/passwd\n", b"<MPD></MPD>", b"\xff\xd8\xff" * 99],
)
def test_unsupported_formats_never_reach_ffmpeg(tmp_path: Path, content: bytes) -> None:
    with running(tmp_path) as server:
        problem(server.post("/v1/video", files={"file": ("a.mp4", content)}), 415)
        assert files(tmp_path) == []


def test_a_broken_video_fails_and_says_why(tmp_path: Path, clip: bytes) -> None:
    with running(tmp_path) as server:
        location = server.post("/v1/video", content=clip[:40] + bytes(800)).headers["Location"]
        job = wait(server, location, "failed")
        assert job["error"]["message"].startswith("cannot read the video")
        assert job["error"]["hint"]
        assert "the job has no result" in problem(server.get(f"{location}/result"), 409)["detail"]
        assert str(tmp_path) not in str(job)
        assert files(tmp_path) == []


def test_a_cut_video_gives_rows_up_to_the_cut(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mkv", 60, options={"g": "5"}).read_bytes()
    with running(tmp_path) as server:
        location = server.post("/v1/video", content=whole[: len(whole) // 2]).headers["Location"]
        job = wait(server, location, "done", "failed")
        assert job["status"] == "done"
        assert "the video is cut short" in job["error"]["message"]
        result = server.get(f"{location}/result").json()
        assert 5 < len(result["rows"]) < 60


def test_videos_have_limits(tmp_path: Path, clip: bytes) -> None:
    with running(tmp_path, video_mb=0.001, jobs=1) as server:
        problem(server.post("/v1/video", content=clip), 413)
        problem(server.post("/v1/video", content=b""), 422)
        assert files(tmp_path) == []
    detector = SlowDetector()
    with running(tmp_path, detector=detector, jobs=1, pixels_mp=0.001) as server:
        location = server.post("/v1/video", content=clip).headers["Location"]
        assert "too large" in wait(server, location, "failed")["error"]["message"]
    detector = SlowDetector()  # the one before was let go at its server's end
    with running(tmp_path, detector=detector, jobs=1) as server:
        location = server.post("/v1/video", content=clip).headers["Location"]
        answer = server.post("/v1/video", content=clip)
        problem(answer, 503)
        assert int(answer.headers["Retry-After"]) > 1
        server.delete(location)


def test_results_expire(tmp_path: Path, clip: bytes) -> None:
    with running(tmp_path) as server:
        location = server.post("/v1/video", content=clip).headers["Location"]
        wait(server, location, "done")
    store = Store(tmp_path / "data")
    store.delete_expired(keep_s=3600)
    assert len(store.jobs.ids()) == 1
    store.delete_expired(keep_s=0)
    assert store.jobs.ids() == set()
    assert files(tmp_path) == []
    store.close()


def test_a_server_that_stops_leaves_its_job_to_the_next(tmp_path: Path, clip: bytes) -> None:
    detector = SlowDetector(0.2)
    with running(tmp_path, detector=detector) as server:
        location = server.post("/v1/video", content=clip).headers["Location"]
        assert detector.begun.wait(PATIENCE_S)
    with running(tmp_path) as server:
        wait(server, location, "done")
        assert len(server.get(f"{location}/result").json()["rows"]) == 30


def test_a_video_is_deleted_before_its_status_says_so(
    tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, list[str]] = {}
    end = Jobs.finish

    def ended(jobs: Jobs, id_: str, status: str, *words: str | None) -> None:
        found[status] = files(tmp_path)
        end(jobs, id_, status, *words)

    monkeypatch.setattr(Jobs, "finish", ended)
    with running(tmp_path) as server:
        location = server.post("/v1/video", content=clip[:40] + bytes(800)).headers["Location"]
        wait(server, location, "failed")
        location = server.post("/v1/video", content=clip).headers["Location"]
        wait(server, location, "done")
    id_ = location.rsplit("/", 1)[-1]
    assert found == {"failed": [], "done": [f"{id_}.jsonl", f"{id_}.summary.json"]}


def test_a_video_that_was_read_when_the_server_died_is_done(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mkv", 60, options={"g": "5"}).read_bytes()
    with running(tmp_path) as server:
        location = server.post("/v1/video", content=whole[: len(whole) // 2]).headers["Location"]
        wait(server, location, "done")
        result = server.get(f"{location}/result").json()
    with closing(sqlite3.connect(tmp_path / "data" / "jobs.sqlite")) as base, base:
        base.execute("UPDATE jobs SET status = 'running', progress = 0.9")
    store = Store(tmp_path / "data")
    store.recover()  # as mien serve does before its workers begin
    store.close()
    with running(tmp_path) as server:
        done = wait(server, location, "done", "failed")
        assert done["status"] == "done"
        assert "the video is cut short" in done["error"]["message"]
        assert server.get(f"{location}/result").json() == result


def test_a_job_whose_model_is_gone_says_so(tmp_path: Path, clip: bytes) -> None:
    store = Store(tmp_path / "data")
    job = store.jobs.add("j" * 22, "mov", ("other", ("a", "b")), None, 1)
    store.upload_path(job.id).write_bytes(clip)
    store.close()
    with running(tmp_path) as server:
        failed = wait(server, f"/v1/video/{job.id}", "failed")
        assert "no longer served" in failed["error"]["message"]


def test_files_without_a_job_are_deleted_at_startup(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    store.jobs.add("kept", "mov", ("fake", ("a", "b")), None, 1)
    for name in ("kept", "lost", "half.part"):
        store.upload_path(name).write_bytes(b"x")
    store.result_path("lost").with_name("lost.jsonl.part").write_bytes(b"x")
    store.recover()
    store.close()
    assert files(tmp_path) == ["kept"]
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def table(path: Path, clock: Clock, *ids: str) -> Jobs:
    jobs = Jobs(path / "jobs.sqlite", clock)
    for id_ in ids:
        jobs.add(id_, "mov", ("m", ("a", "b")), 0.5, 1)
    return jobs


def test_a_dead_workers_job_is_taken_over(tmp_path: Path, clock: Clock) -> None:
    jobs = table(tmp_path, clock, "a", "b")
    taken = jobs.claim(1)
    assert taken is not None
    assert (taken.id, taken.status, taken.labels) == ("a", "running", ("a", "b"))
    assert jobs.claim(1) is None
    assert jobs.renew_lease("a", 0.5)
    clock.now += LEASE_S + 1
    again = table(tmp_path, clock).claim(1)  # another worker, over the same file
    assert again is not None
    assert again.id == "a"


def test_a_job_that_crashes_its_workers_fails(tmp_path: Path, clock: Clock) -> None:
    jobs = table(tmp_path, clock, "a")
    for _ in range(MAX_ATTEMPTS):
        assert jobs.claim(1) is not None
        jobs.requeue()
    assert jobs.claim(1) is None
    job = jobs.get("a")
    assert job is not None
    assert job.status == "failed"
    assert "3 times" in (job.message or "")


def test_stopping_a_server_is_not_an_attempt(tmp_path: Path, clock: Clock) -> None:
    jobs = table(tmp_path, clock, "a")
    for _ in range(2 * MAX_ATTEMPTS):
        assert jobs.claim(1) is not None
        jobs.requeue("a")
    assert jobs.claim(1) is not None


def test_a_cancelled_job_stays_so(tmp_path: Path, clock: Clock) -> None:
    jobs = table(tmp_path, clock, "a", "b")
    assert jobs.claim(2) is not None
    assert jobs.cancel("a")
    assert not jobs.renew_lease("a", 0.9)
    jobs.finish("a", "done")
    job = jobs.get("a")
    assert job is not None
    assert job.status == "cancelled"
    assert not jobs.cancel("a")
    assert jobs.count_active() == 1


def test_an_unknown_codec_is_reported(tmp_path: Path) -> None:
    content = write_clip(tmp_path / "a.mkv", 5).read_bytes()
    assert content.count(b"V_MPEG4/ISO/AVC") == 1
    unknown = content.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/AVC")
    with running(tmp_path) as server:
        location = server.post("/v1/video", content=unknown).headers["Location"]
        assert "cannot decode" in wait(server, location, "failed")["error"]["message"]
