"""The container's files: no engine runs here, so their rules are checked instead."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [
        (line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line and line[0] != "#"
    ]


def last(name: str) -> str:
    return [rest for word, rest in instructions() if word == name][-1]


def test_images_are_pinned_and_slim() -> None:
    stages = [rest for word, rest in instructions() if word == "FROM"]
    assert len(stages) == 2  # what builds stays behind
    assert all(re.match(r"python:3\.\d+-slim( AS \w+)?$", stage) for stage in stages)


def test_nobody_is_root_and_nothing_is_secret() -> None:
    words = [word for word, _ in instructions()]
    assert last("USER") == "10001"  # a number, so that Kubernetes can tell it is not root
    assert words.index("USER") < words.index("ENTRYPOINT")
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"sudo|chmod 777|curl|wget|ADD |TOKEN", text)
    assert ":latest" not in text


def test_installs_are_reproducible_and_leave_no_cache() -> None:
    [install] = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert "--no-cache-dir" in install
    assert "--constraint constraints.txt" in install
    assert '".[serve]"' in install


def test_it_runs_what_there_is() -> None:
    from mien.cli.serve import serve

    assert json.loads(last("ENTRYPOINT")) == ["mien"]
    command = json.loads(last("CMD"))
    assert command[0] == serve.__name__
    assert "--data" in command
    health = last("HEALTHCHECK")
    assert "/healthz" in health
    assert "--interval" in health
    check = json.loads(re.search(r"CMD (\[.*\])$", health).group(1))  # type: ignore[union-attr]
    compile(check[2], "health", "exec")


def test_what_is_copied_is_sent_to_the_builder() -> None:
    sent = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = [
        rest.split()[:-1]
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
    ]
    assert sent == {name for names in copied for name in names}
    assert all((ROOT / name).exists() for name in sent)


def test_compose_keeps_to_the_rules() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    services = text.partition("services:")[2].partition("\nvolumes:")[0]
    assert services.count("read_only: true") == 2
    assert services.count('cap_drop: ["ALL"]') == 2
    assert services.count("no-new-privileges:true") == 2
    assert all(p.startswith("127.0.0.1:") for p in re.findall(r'ports: \["([^"]+)"', services))
    assert not re.search(r"privileged: true|docker\.sock|image: \S+:latest|image: [^:\n]+\n", text)
    target = re.search(r'targets: \["([^"]+)"', (ROOT / "deploy/prometheus.yml").read_text())
    assert target
    assert target.group(1) == "mien:8000"
