"""Tables of a drawn study: its known truth is found again, and nothing is left out silently."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.feather
import pyreadstat
import pytest
from tests.conftest import ROOT, run_mien
from tests.sessions.conftest import DRAW
from tests.sessions.test_event_files import TEXTGRID, xdf

from mien.errors import ConfigError, DataError
from mien.sessions.derive import SessionOptions, derive
from mien.sessions.output import spss_names
from mien.sessions.synchrony import SynchronyOptions

QUICK = SynchronyOptions(window_s=20.0, max_lag_s=2.0, surrogates=99)


def tables(study: Path, **options: Any) -> tuple[Callable[[str], pd.DataFrame], list[str]]:
    """Derive a study; return a reader of its CSV tables and its notes."""
    out = study.parent.parent / "tables"
    made = derive(study, out, SessionOptions(synchrony=QUICK, **options))

    def read(name: str) -> pd.DataFrame:
        frame: pd.DataFrame = pd.read_csv(out / f"{name}.csv", keep_default_na=True)
        return frame

    return read, [f"{note.kind}: {note.message}" for note in made.notes.found]


def csv_of(path: Path) -> pd.DataFrame:
    """Read a table by polars, whose numbers are exact; pandas' may differ in the last digit."""
    frame: pd.DataFrame = pl.read_csv(path, infer_schema_length=None).to_pandas()
    return frame


def changed(study: Path, old: str, new: str) -> Path:
    text = study.read_text(encoding="utf-8")
    assert old in text
    study.write_text(text.replace(old, new), encoding="utf-8")
    return study


def test_the_truth_is_found(study: Path) -> None:
    read, _ = tables(study)
    differences = read("differences").set_index(["condition", "minus", "expression", "measure"])
    found = differences.loc[("calm", "funny", "happy", "change")]
    # 1.5 all the time and 2 more in 2 of about 10 seconds.
    laughing = 2 * len(DRAW.laughs(200.0)) / 90
    assert abs(-found["mean"] - (DRAW.FUNNY + DRAW.LAUGH * laughing)) < 0.35
    assert found["low"] < found["mean"] < found["high"] < 0
    assert found["participants"] == 4
    around = read("events-wide").query("name == 'laugh'")
    assert set(around["phase"]) == {"pre", "post"}
    mean = around.groupby("from_s")["change_happy"].mean()
    assert list(mean.index) == [-1, -0.5, 0, 0.5, 1, 1.5, 2, 2.5]
    assert mean.loc[0:1.5].mean() - mean.loc[-1:-0.5].mean() > 1.2
    together = read("synchrony").query("expression == 'happy'")
    assert (together["p"] <= 0.02).all()
    assert (together["z"] > together["pseudo_z"]).all()
    assert np.allclose(together["peak_lag_s"], DRAW.FOLLOWS_S, atol=0.21)


def test_every_frame_has_a_row_and_raw_values_stay(study: Path) -> None:
    read, _ = tables(study)
    frames = read("frames-wide")
    assert len(frames) == 4 * 2000
    one = frames.query("participant == 'p02'")
    assert list(one["frame"]) == list(range(2000))
    rows = pd.read_csv(study.parent / "rows" / "pair1.csv").query("track == 2")
    seen = one[one["face"]]
    assert len(seen) == len(rows) < 2000
    for name in ("p_happy", "p_neutral", "p_sad", "confidence"):
        assert list(seen[name]) == list(rows[name])
    assert one[~one["face"]][["track", "quality", "p_happy", "change_happy"]].isna().all(axis=None)
    rest = seen[(seen["time_s"] < 20) & seen["excluded"].isna()]
    p = np.clip(rest["p_happy"], 0.001, 0.999)
    odds = np.log(p / (1 - p))
    assert np.allclose(rest["change_happy"], odds - odds.mean(), atol=1e-4)
    base = read("baselines").query("participant == 'p02' and expression == 'happy'").iloc[0]
    assert base["log_odds"] == pytest.approx(odds.mean(), abs=1e-4)
    half = (rest["change_high_happy"] - rest["change_low_happy"]) / 2
    assert np.allclose(half, (base["high"] - base["low"]) / 2, atol=2e-4)
    assert base["effective"] < base["frames"] == len(rest)
    out = frames.query("participant == 'p01' and 30 <= time_s < 34")
    assert set(out["excluded"]) == {"phone"}
    assert set(frames.query("time_s >= 120")["condition"]) == {"funny"}
    assert set(frames.query("time_s < 20")["condition"].fillna("")) == {""}


def test_units_are_means_of_their_frames(study: Path) -> None:
    read, _ = tables(study, window_s=2.0)
    frames, windows = read("frames-wide"), read("windows-wide")
    assert len(windows) == 4 * 100
    frames["window"] = np.floor(frames["time_s"] / 2 + 1e-6)
    used = frames[frames["excluded"].isna() & frames["face"]]
    wanted = used.groupby(["participant", "window"])["p_sad"].mean()
    got = windows.set_index(["participant", "window"])["p_sad"]
    assert np.allclose(got[wanted.index], wanted, atol=6e-5)
    assert got[got.isna()].shape[0] == 400 - len(wanted) > 0
    p01 = windows.query("participant == 'p01'").set_index("start_s")
    assert p01.loc[30, "fraction_excluded"] == 1
    assert p01.loc[30, "frames_used"] == 0
    episodes = read("episodes-wide").query("participant == 'p03'")
    mine = frames.query("participant == 'p03' and face")
    runs = (mine["label"] != mine["label"].shift()).sum()
    # The 3 seconds away end an episode too, at most one more than there are runs.
    assert runs <= len(episodes) <= runs + 1
    assert (episodes["duration_s"] > 0).all()
    assert episodes["duration_s"].sum() == pytest.approx(len(mine) / 10, abs=0.2)
    assert episodes["frames"].sum() == len(mine)
    long = read("windows-long")
    assert len(long) == 3 * len(windows)
    first = long.query("expression == 'sad'").set_index(["participant", "window"])["p"]
    assert first.equals(got[first.index].rename("p"))
    people = read("people-wide")
    assert list(people["participant"]) == ["p01", "p02", "p03", "p04"]
    tall = read("people-long").set_index(["participant", "condition", "expression"])
    assert people["p_happy.funny"][2] == tall.loc[("p03", "funny", "happy"), "p"]


def test_formats_agree_to_the_last_digit(study: Path) -> None:
    out = study.parent.parent / "tables"
    formats = ("csv", "parquet", "feather", "sav", "r")
    made = derive(study, out, SessionOptions(synchrony=QUICK, formats=formats))
    names = sorted(path.stem for path in made.files if path.suffix == ".parquet")
    assert {"frames-wide", "frames-long", "people-wide", "synchrony", "baselines"} <= set(names)
    for name in names:
        first = pd.read_parquet(out / f"{name}.parquet")
        feather = pyarrow.feather.read_table(str(out / f"{name}.feather")).to_pandas()
        pd.testing.assert_frame_equal(first, feather, check_exact=True)
        text = csv_of(out / f"{name}.csv")
        spss, about = pyreadstat.read_sav(str(out / f"{name}.sav"))
        assert about.column_labels == list(first.columns)
        for place, column in enumerate(first.columns):
            wanted = first[column]
            if wanted.dtype == bool or wanted.dtype.kind in "fi" or column == "unsure":
                numbers = pd.to_numeric(wanted).to_numpy(np.float64, na_value=np.nan)
                for other in (text[column], spss.iloc[:, place]):
                    got = pd.to_numeric(other).to_numpy(np.float64, na_value=np.nan)
                    assert np.array_equal(got, numbers, equal_nan=True), (name, column)
            else:
                words = list(wanted.fillna(""))
                assert list(text[column].fillna("").astype(str)) == words, (name, column)
                assert list(spss.iloc[:, place]) == words, (name, column)
    script = (out / "model.R").read_text()
    assert "lmer(" in script
    assert "windows-wide.csv" in script
    assert json.loads((out / "columns.json").read_text())["change_LABEL"]


def test_the_model_is_fitted_in_r(study: Path) -> None:
    import shutil
    import subprocess

    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    derive(study, study.parent / "out", SessionOptions(synchrony=QUICK, formats=("r",)))
    done = subprocess.run(
        ["Rscript", "model.R"], cwd=study.parent / "out", capture_output=True, text=True
    )
    if "there is no package called" in done.stderr:
        pytest.skip("R's package lme4 is not installed")
    assert done.returncode == 0, done.stderr
    line = next(one for one in done.stdout.splitlines() if one.startswith("conditionfunny"))
    assert 1.3 < float(line.split()[1]) < 2.4


def test_what_is_left_out_is_noted(study: Path) -> None:
    text = study.read_text(encoding="utf-8")
    text += """
[[event]]
session = "s1"
name = "late"
time_s = 300
[[event]]
video = "other.mp4"
name = "elsewhere"
time_s = 3
[[event]]
session = "s1"
person = "P1"
name = "for one"
time_s = 50
[[exclusion]]
session = "s1"
start_s = 33
end_s = 36
reason = "door"
[[exclusion]]
session = "s2"
start_s = 0
end_s = 20
person = "p04"
[[exclusion]]
session = "s2"
start_s = 150
end_s = 260
[[correction]]
source = "pair1.mp4"
track = 2
start_s = 2
end_s = 3
label = "sad"
by = "ms"
[[correction]]
source = "pair1.mp4"
track = 9
start_s = 2
end_s = 3
label = "sad"
[[correction]]
source = "pair1.mp4"
track = 2
start_s = 12
end_s = 12.5
label = "hapy"
"""
    study.write_text(text, encoding="utf-8")
    read, notes = tables(study)
    joined = "\n".join(notes)
    for words in (
        "event 'late' (study file) at 300.000 s is outside the video (0 to 200 s)",
        "event 'elsewhere' is in other.mp4",
        "the correction of pair1.mp4, track 9, 2 to 3 s covers no frame",
        "track 2, 12 to 12.5 s has the label 'hapy', which is none of the rows' labels: happy",
        "30 to 34 s (phone) and 33 to 36 s (door) overlap and count once, 30 to 36 s",
        "p04: no face with a prediction in the rest segment 0 to 20 s of session s2",
        "p04 has no baseline in session s2: no face at rest; changes are empty",
        "150 to 260 s, lies partly outside the video",
        "offset -12.5000 s and drift 80.0 ppm from 2 shared events",
    ):
        assert words in joined, joined
    listed = read("notes")
    assert len(listed) == len(notes)
    events = read("events-wide")
    assert "late" not in set(events["name"])
    assert set(events.query("name == 'for one'")["participant"]) == {"p01"}
    base = read("baselines").query("participant == 'p04'")
    assert set(base["baseline"]) == {"no face at rest"}
    frames = read("frames-wide")
    assert frames.query("participant == 'p04'")["change_happy"].isna().all()
    assert frames.query("participant == 'p04'")["p_happy"].notna().any()
    corrected = frames[frames["corrected_label"] == "sad"]
    assert set(corrected["participant"]) == {"p02"}
    assert set(corrected["corrected_by"]) == {"ms"}
    assert 9 <= len(corrected) <= 10
    assert corrected["label"].notna().all()


def test_a_baseline_of_another_session_serves(study: Path) -> None:
    text = study.read_text(encoding="utf-8")
    second = text.index('id = "s2"')
    text = text[:second] + text[second:].replace("baseline = { start_s = 0, end_s = 20 }\n", "", 1)
    text = text.replace('["p03", "p04"]', '["p01", "p02"]')
    people = json.loads((study.parent / "rows" / "people.json").read_text())
    for n in (0, 1):
        people["people"][n]["tracks"] += people["people"][n + 2]["tracks"]
    people["people"] = people["people"][:2]
    (study.parent / "rows" / "people.json").write_text(json.dumps(people))
    for number in (3, 4):
        text = text.replace(f'person = "P{number}"\n', "")
        start = text.index(f'[[participant]]\nid = "p0{number}"')
        text = text[:start] + text[text.index("\n\n", start) + 2 :]
    study.write_text(text, encoding="utf-8")
    read, _ = tables(study)
    base = read("baselines").query("participant == 'p01' and expression == 'sad'")
    assert list(base["baseline"]) == ["session", "other sessions"]
    assert base["log_odds"].nunique() == 1
    assert read("people-long").query("condition == 'funny'")["sessions"].eq(2).all()


def test_one_face_needs_no_people(study: Path) -> None:
    (study.parent / "rows" / "people.json").unlink()
    with pytest.raises(DataError, match="session s1: 2 participants and no rows/people.json"):
        tables(study)
    rows = study.parent / "rows"
    for path in rows.glob("*.csv"):
        frame = pd.read_csv(path)
        frame[frame["track"] == 1].to_csv(path, index=False)
    (rows / "pair2.csv").unlink()
    study.write_text("", encoding="utf-8")
    changed_study = study
    changed_study.write_text('[study]\nrows = "rows"\n', encoding="utf-8")
    read, _ = tables(changed_study)
    assert set(read("frames-wide")["participant"]) == {"pair1.mp4"}
    assert read("baselines")["log_odds"].isna().all()
    conditions = read("conditions")
    assert conditions["low"].isna().all()
    assert conditions["participants"].max() == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('person = "P1"', 'person = "P9"', "no person has the id or name 'P9'"),
        ('"markers.tsv"', '"marker.tsv"', "marker.tsv: no such file"),
        ('person = "P2"\n', "", "the participant 'p02' has no person"),
    ],
)
def test_what_does_not_fit_is_refused(study: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        tables(changed(study, old, new))
    assert not list((study.parent.parent / "tables").glob("*.csv"))


def test_videos_and_sessions_that_do_not_meet_are_noted(study: Path) -> None:
    _, notes = tables(changed(study, '"pair1.mp4"', '"a.mp4"'))
    assert any("no rows have the source 'a.mp4'" in note for note in notes)
    assert any("pair1.mp4: no session has this video" in note for note in notes)
    with pytest.raises(ConfigError, match="no session has rows") as raised:
        tables(changed(study, '"pair2.mp4"', '"b.mp4"'))
    assert "'pair1.mp4', 'pair2.mp4'" in raised.value.hint


def test_two_participants_are_not_one_person(study: Path) -> None:
    path = study.parent / "rows" / "people.json"
    people = json.loads(path.read_text())
    people["people"][0]["name"] = "Anna"
    path.write_text(json.dumps(people))
    with pytest.raises(DataError, match="'p01' and 'p02' are the same person, Anna"):
        tables(changed(study, 'person = "P2"', 'person = "Anna"'))


def test_a_name_is_one_in_any_case_and_normalization_form(study: Path) -> None:
    path = study.parent / "rows" / "people.json"
    people = json.loads(path.read_text())
    people["people"][0]["name"] = "J\u00f6rg"
    path.write_text(json.dumps(people))
    text = study.read_text(encoding="utf-8").replace('person = "P1"', 'person = "jo\u0308rg"')
    event = '[[event]]\nsession = "s1"\nname = "nod"\ntime_s = 50\nperson = "J\u00d6RG"\n'
    study.write_text(f"{text}\n{event}", encoding="utf-8")
    read, _ = tables(study)
    assert set(read("events-wide").query("name == 'nod'")["participant"]) == {"p01"}


def test_options_are_checked(study: Path) -> None:
    for options, message in (
        ({"window_s": 0.0}, "window: 0 is out of range"),
        ({"pre_s": -1.0}, "pre: -1 is out of range"),
        ({"formats": ("exel",)}, "'exel' is unknown"),
        ({"tables": ("window",)}, "'window' is unknown"),
    ):
        with pytest.raises(ConfigError, match=message):
            tables(study, **options)
    with pytest.raises(ConfigError, match="holds the rows"):
        derive(study, study.parent / "rows", SessionOptions())


def test_the_command(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = study.parent / "out"
    few = ("--tables", "people,events", "--window", 1, "--surrogates", 19)
    code, _, err = run_mien(capsys, monkeypatch, "session", study, "--out", out, *few)
    assert code == 0, err
    assert "4 participants in sessions" in err
    assert not (out / "frames-wide.csv").exists()
    assert (out / "events-long.csv").exists()
    code, _, err = run_mien(capsys, monkeypatch, "session", study, "--out", out, "--window", "-1")
    assert code == 2
    assert "--window: -1 is out of range" in err
    study.write_text("[study]\nrow = 3\n")
    code, _, err = run_mien(capsys, monkeypatch, "session", study, "--out", out)
    assert code == 1
    assert "did you mean 'rows'" in err


def test_names_fit_spss() -> None:
    names = spss_names(
        ["with", "p_happy.funny film", "1st", "x" * 70, "x" * 71, "größe", "P_a", "p_a"]
    )
    assert names[:3] == ["v_with", "p_happy.funny_film", "v_1st"]
    assert len({name.lower() for name in names}) == len(names)
    assert all(len(name) <= 64 for name in names)


def with_sources(study: Path, sources: dict[str, str]) -> None:
    """Give videos of a study's rows and people other sources."""
    for path in (study.parent / "rows").iterdir():
        text = path.read_text(encoding="utf-8")
        for old, new in sources.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


def test_a_video_may_be_named_by_its_file(study: Path) -> None:
    expected, _ = tables(study)
    before = expected("conditions")
    with_sources(study, {"pair1.mp4": "day 1/pair1.mp4", "pair2.mp4": "day 2/pair2.mp4"})
    study.write_text(
        study.read_text(encoding="utf-8")
        + '\n[[event]]\nname = "door"\ntime_s = 50.0\nvideo = "pair2.mp4"\n'
        '[[correction]]\nsource = "pair1.mp4"\ntrack = 2\nstart_s = 1.0\nend_s = 2.0\n'
        'label = "sad"\nby = "A"\n',
        encoding="utf-8",
    )
    read, notes = tables(study)
    assert not [note for note in notes if "no rows" in note or "no session" in note]
    frames = read("frames-wide")
    assert set(frames["video"]) == {"day 1/pair1.mp4", "day 2/pair2.mp4"}
    corrected = frames[frames["corrected_label"].notna()]
    assert set(corrected["video"]) == {"day 1/pair1.mp4"}
    assert corrected["time_s"].between(1, 2).all()
    assert set(read("events-wide").query("name == 'door'")["video"]) == {"day 2/pair2.mp4"}
    pd.testing.assert_frame_equal(read("conditions"), before)


def test_a_file_name_that_two_videos_have_is_refused(study: Path) -> None:
    with_sources(study, {"pair1.mp4": "day 1/pair.mp4", "pair2.mp4": "day 2/pair.mp4"})
    changed(study, '"pair1.mp4"', '"pair.mp4"')
    with pytest.raises(DataError, match=r"'day 1/pair.mp4' or 'day 2/pair.mp4'"):
        tables(study)
    # A source that is the whole name is meant before one whose file has it.
    with_sources(study, {"day 1/pair.mp4": "pair.mp4"})
    changed(study, '"pair2.mp4"', '"day 2/pair.mp4"')
    read, _ = tables(study)
    assert set(read("frames-wide")["video"]) == {"pair.mp4", "day 2/pair.mp4"}


def test_two_sessions_do_not_share_a_video(study: Path) -> None:
    with_sources(study, {"pair1.mp4": "day 1/pair1.mp4"})
    changed(study, '"pair2.mp4"', '"day 1/pair1.mp4"')
    with pytest.raises(DataError, match=r"have the same video, 'day 1/pair1.mp4'"):
        tables(study)


def test_head_pose_is_in_the_frames(study: Path) -> None:
    path = study.parent / "rows" / "pair1.csv"
    rows = pd.read_csv(path)
    rows["yaw"] = np.where(rows["track"] == 2, 12.5, -3.0)
    rows["pitch"] = np.nan
    rows["roll"] = np.arange(len(rows)) % 40 / 10
    rows.to_csv(path, index=False)
    read, _ = tables(study)
    frames = read("frames-wide").query("participant == 'p02'")
    seen = frames[frames["face"]]
    assert set(seen["yaw"]) == {12.5}
    assert seen["pitch"].isna().all()
    assert list(seen["roll"]) == list(rows.query("track == 2")["roll"])
    assert frames[~frames["face"]][["yaw", "roll"]].isna().all(axis=None)


def test_markers_of_another_clock_need_one(study: Path) -> None:
    (study.parent / "markers.xdf").write_bytes(xdf([(1002.5, "laugh")]))
    text = study.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("clock = ")]
    study.write_text("\n".join(lines).replace("markers.tsv", "markers.xdf"), encoding="utf-8")
    with pytest.raises(DataError, match="session s1, markers.xdf: LSL's times have another clock"):
        tables(study)
    changed(study, '["markers.xdf"]', '[{ file = "markers.xdf", clock = { offset_s = -990 } }]')
    read, _ = tables(study)
    around = read("events-wide").query("name == 'laugh'")
    assert set(around["participant"]) == {"p01", "p02", "p03", "p04"}
    assert set(around["event_time_s"]) == {12.5}


def test_events_without_a_time_are_noted(study: Path) -> None:
    text = "onset\tduration\ttrial_type\nn/a\t1\tlost\n60\t1\tkept\n"
    (study.parent / "markers.tsv").write_text(text, encoding="utf-8")
    read, notes = tables(study)
    assert any("markers.tsv: 1 event without a time left out" in note for note in notes), notes
    assert "kept" in set(read("events-wide")["name"])


def test_a_folder_without_rows_says_where_they_belong(study: Path) -> None:
    for file in (study.parent / "rows").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="holds no rows") as raised:
        tables(study)
    assert "[study]" in raised.value.hint
    table = study.parent / "study.csv"
    table.write_text("participant,video\nann,a.mp4\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no rows") as raised:
        tables(table)
    assert "beside" in raised.value.hint
    assert "[study]" not in raised.value.hint
    with pytest.raises(DataError, match="is a folder, not a study file"):
        tables(study.parent)


def test_the_examples_take_help_for_no_folder(tmp_path: Path) -> None:
    for script in (ROOT / "examples" / name for name in ("draw_sessions.py", "draw_study.py")):
        done = subprocess.run(
            [sys.executable, str(script), "--help"], cwd=tmp_path, capture_output=True, check=True
        )
        assert b"usage" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_tier_of_nobody_concerns_everyone_with_a_note(study: Path) -> None:
    grid = TEXTGRID.replace('"Anna"', '"p01"')
    (study.parent / "a.TextGrid").write_text(grid, encoding="utf-8")
    changed(study, '["markers.tsv"]', '["a.TextGrid"]')
    # A TextGrid's times are the video's.
    lines = [line for line in study.read_text().splitlines() if not line.startswith("clock = ")]
    study.write_text("\n".join(lines), encoding="utf-8")
    read, notes = tables(study)
    [first, *_] = [one for one in notes if "names no participant" in one]
    assert "a.TextGrid: the tier 'clap' names no participant; 1 event of it concern" in first
    about = (
        read("events-wide").query("video == 'pair1.mp4'").groupby("name")["participant"].agg(set)
    )
    assert about["grüßt"] == {"p01"}
    assert about["clap"] == {"p01", "p02"}
