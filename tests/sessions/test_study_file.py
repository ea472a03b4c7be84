"""Study files: what is read, what is refused and with which words, and what a change keeps."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from tests.conftest import ROOT

from mien.errors import DataError
from mien.sessions.study_file import (
    Clock,
    Correction,
    Event,
    EventsFile,
    Exclusion,
    Participant,
    Session,
    Stimulus,
    Study,
    load_study,
    save_study,
)

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "study.schema.json"
TEXT = """\
# The pilot of March.
[study]
name = "Pilot"  # a working title
rows = "rows"

[[participant]]
id = "anna"
person = "P1"
age = 31

[[participant]]
id = 12
person = "P2"  # numbers are names too

[[session]]
id = "s1"
video = "a.mp4"
participants = ["anna", 12]
condition = "together"
baseline = { start_s = 0, end_s = 30.5 }
clock = { shared = [[1.0, 11.0], [101.0, 111.1]] }
events_from = ["events.tsv", { file = "b.xdf", tiers = ["markers"], clock = { offset_s = 2 } }]

[[stimulus]]
session = "s1"
name = "film"
start_s = 40
end_s = 60.0

# Before this line the door slammed.
[[event]]
video = "a.mp4"
name = "door"
time_s = 12

[[event]]
video = "a.mp4"
name = "laugh"
time_s = 15.25
person = "anna"

[[exclusion]]
video = "a.mp4"
start_s = 3
end_s = 5
reason = "phone"
"""
STUDY = Study(
    name="Pilot",
    rows="rows",
    participants=(Participant("anna", "P1", {"age": 31}), Participant("12", "P2")),
    sessions=(
        Session(
            "s1", "a.mp4", ("anna", "12"), "together", (0.0, 30.5),
            Clock(shared=((1.0, 11.0), (101.0, 111.1))),
            (EventsFile("events.tsv"), EventsFile("b.xdf", ("markers",), Clock(2.0))),
        ),
    ),
    stimuli=(Stimulus("film", 40.0, 60.0, session="s1"),),
    events=(
        Event("door", 12.0, video="a.mp4"),
        Event("laugh", 15.25, video="a.mp4", person="anna"),
    ),
    exclusions=(Exclusion(3.0, 5.0, "phone", video="a.mp4"),),
)  # fmt: skip


def written(tmp_path: Path, text: str, name: str = "study.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_study_is_read(tmp_path: Path) -> None:
    assert load_study(written(tmp_path, TEXT)) == STUDY


def test_a_change_keeps_comments_and_other_entries(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    moved = replace(STUDY.events[0], time_s=13.5)
    changed = replace(
        STUDY,
        events=(moved, STUDY.events[1], Event("end", 70.0, video="a.mp4")),
        exclusions=(),
        corrections=(Correction("a.mp4", 2, 3.0, 4.5, "happy", "ms"),),
    )
    save_study(changed, path)
    assert load_study(path) == changed
    text = path.read_text(encoding="utf-8")
    for comment in ("# The pilot", "# a working title", "# numbers are", "# Before this line"):
        assert comment in text
    assert "[[exclusion]]" not in text
    save_study(STUDY, path)
    assert load_study(path) == STUDY


def test_a_new_file_holds_the_study_and_follows_its_schema(tmp_path: Path) -> None:
    import tomllib

    path = tmp_path / "new.toml"
    study = replace(STUDY, corrections=(Correction("a.mp4", 1, 0.0, 1.0, "sad"),))
    save_study(study, path)
    assert load_study(path) == study
    jsonschema.validate(tomllib.loads(path.read_text()), json.loads(SCHEMA.read_text()))
    jsonschema.validate(tomllib.loads(TEXT), json.loads(SCHEMA.read_text()))
    save_study(Study(), tmp_path / "empty.toml")
    assert load_study(tmp_path / "empty.toml") == Study()


def test_a_table_is_a_study_too(tmp_path: Path) -> None:
    lines = (
        "participant;video;person;group;age;condition;baseline_start_s;baseline_end_s;"
        "clock_offset_s;events_from\n"
        "anna;a.mp4;P1;test;31;together;0;30;1.5;e.tsv;f.eaf\n"
    ).replace("e.tsv;f.eaf", '"e.tsv;f.eaf"')
    lines += 'ben;a.mp4;P2;control;28.5;together;0;30;1.5;"e.tsv;f.eaf"\n'
    lines += "anna;b.mp4;P1;test;31;alone;;;;\n"
    study = load_study(written(tmp_path, lines, "study.csv"))
    assert study.participants == (
        Participant("anna", "P1", {"group": "test", "age": 31}),
        Participant("ben", "P2", {"group": "control", "age": 28.5}),
    )
    assert study.sessions == (
        Session(
            "a", "a.mp4", ("anna", "ben"), "together", (0.0, 30.0), Clock(1.5),
            (EventsFile("e.tsv"), EventsFile("f.eaf")),
        ),
        Session("b", "b.mp4", ("anna",), "alone"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ('condition = "tog', 'conditon = "tog', "[[session]] 1: the key 'conditon'", "'condition'"),
        ("[[stimulus]]", "[[stimuli]]", "'stimuli' is unknown", "did you mean 'stimulus'"),
        ('rows = "rows"', 'row = "rows"', "[study]: the key 'row'", "did you mean 'rows'"),
        ('name = "film"', 'name = "film', "line 26", "quotes"),
        ('"P2"', '"P1"', "two participants are the person 'P1'", "a person of its own"),
        ("id = 12", 'id = "anna"', "two participants have the id 'anna'", "name of its own"),
        ('["anna", 12]', '["ana"]', "no participant has the id 'ana'", "did you mean 'anna'"),
        ("time_s = 12", 'time_s = "12"', "[[event]] 1: time_s = '12' is not a number", "number"),
        ("time_s = 12", "time_s = inf", "time_s = inf is not a number", "number"),
        ("time_s = 12", "", "[[event]] 1: the key 'time_s' is missing", "add time_s"),
        ("end_s = 5", "end_s = 3", "[[exclusion]] 1: starts at 3 s and ends at 3 s", "greater"),
        ('session = "s1"', 'session = "s2"', "'s2', which is not there", "did you mean 's1'"),
        (", [101.0, 111.1]", "", "clock: two shared events", "second"),
        ("[101.0, 111.1]", "[101.0, 11.0]", "clock: two shared events", "second"),
        ("[101.0, 111.1]", "[1.0, 111.1]", "different times of both clocks", "second"),
        ("{ offset_s = 2 }", "{ ofset_s = 2 }", "'ofset_s' is unknown", "'offset_s'"),
        ("[[exclusion]]", "[exclusion]", "[exclusion] is one table", "[[exclusion]]"),
        ('rows = "rows"', 'rows = ""', "rows = '' is not a text", "text"),
    ],
)
def test_mistakes_are_refused(tmp_path: Path, old: str, new: str, message: str, hint: str) -> None:
    assert old in TEXT
    path = written(tmp_path, TEXT.replace(old, new, 1))
    with pytest.raises(DataError) as raised:
        load_study(path)
    assert message in raised.value.message
    assert str(path) in raised.value.message
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("participants,video\nanna,a.mp4\n", "the column 'participant' is missing"),
        ("participant,video,age\nanna,a.mp4,3\nanna,b.mp4,4\n", "line 3: 'anna' has other"),
        ("participant,video,condition\nanna,a.mp4,x\nben,a.mp4,y\n", "line 3: the video 'a.mp4'"),
        ("participant,video\nanna\n", "line 2: has not the 2 values"),
        ("participant,video,baseline_start_s\nanna,a,3\n", "line 2: a baseline needs"),
        ("participant,video,clock_offset_s\nanna,a,3 s\n", "clock_offset_s = '3 s' is not a"),
        ("participant,video\nanna,a.mp4\nanna,a.mp4\n", "names twice the participant 'anna'"),
        ("participant,video\n", "has no lines"),
    ],
)  # fmt: skip
def test_mistakes_in_a_table_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_study(written(tmp_path, text, "study.csv"))


def test_a_damaged_file_is_not_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, "[study\n")
    with pytest.raises(DataError, match="line 1"):
        save_study(STUDY, path)
    assert path.read_text() == "[study\n"
    path.write_bytes(b"[study]\nname = '\xe4'\n")
    with pytest.raises(DataError, match="line 2"):
        load_study(path)
    with pytest.raises(DataError, match="did you mean|cannot be read"):
        load_study(tmp_path / "stduy.toml")


@pytest.mark.parametrize("example", ["draw_sessions.py", "draw_study.py"])
def test_an_option_is_no_folder_of_an_example(example: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "examples" / example), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "usage:" in done.stdout
    assert not list(tmp_path.iterdir())
