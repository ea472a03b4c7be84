"""Pushing to a hub: what is sent, after which question, and that it loads again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import run_mien
from tests.fake_hub import TOKEN, FakeHub, patched_hub

from mien.data.dataset import Dataset
from mien.errors import ConfigError, ModelFileError
from mien.files import sha256
from mien.model.classifier import Classifier
from mien.model.info import ModelInfo
from mien.publish.card_metadata import card_metadata, with_metadata
from mien.publish.hub import Upload, prepare_upload, push
from mien.publish.licence import OWN, PRETRAINED, weights_licence

# huggingface_hub's own upload; mien sends nothing itself.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SHIPPED = resources.files("mien.model.shipped")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with patched_hub(tmp_path, monkeypatch) as fake:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield fake


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file, its card, and files beside it that nobody asked to push."""
    for suffix in (".onnx", ".md"):
        content = (SHIPPED / f"mien-tiny{suffix}").read_bytes()
        (tmp_path / f"mine{suffix}").write_bytes(content)
    (tmp_path / "face.png").write_bytes(b"private")
    return tmp_path / "mine.onnx"


def front_matter(card: bytes) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    values: dict[str, Any] = yaml.safe_load(card.decode().split("---\n")[1])
    return values


def test_a_pushed_model_loads_again(hub: FakeHub, model: Path) -> None:
    address = push(prepare_upload(model, "user/name"), private=True)
    repository = hub.repositories["user/name"]
    commit, files = repository.commits[-1]
    assert address == f"hf://user/name@{commit}"
    assert repository.private
    assert set(files) == {"model.onnx", "README.md", "mien.json"}
    assert len(repository.commits) == 1
    assert files["model.onnx"] == model.read_bytes()
    assert json.loads(files["mien.json"])["files"]["README.md"]["sha256"] == sha256(
        files["README.md"]
    )
    # Neither the token nor a path of this machine is in what was sent.
    sent = b"".join(files.values())
    assert TOKEN.encode() not in sent
    assert str(model.parent).encode() not in sent
    loaded, local = Classifier.load(address), Classifier.load(model)
    assert loaded.info == local.info


def test_a_second_push_is_a_second_commit(hub: FakeHub, model: Path) -> None:
    first = push(prepare_upload(model, "user/name"))
    card = model.with_suffix(".md")
    card.write_text(card.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")
    second = push(prepare_upload(model, "user/name"))
    assert first != second
    assert len(hub.repositories["user/name"].commits) == 2


def test_the_cards_metadata(hub: FakeHub, model: Path) -> None:
    info = Classifier.load(model).info
    push(prepare_upload(model, "user/name"))
    _, files = hub.repositories["user/name"].commits[-1]
    values = front_matter(files["README.md"])
    assert hub.cards == [files["README.md"].decode()]
    assert values["library_name"] == "mien"
    assert values["pipeline_tag"] == "image-classification"
    assert values["license"] == "apache-2.0"
    assert values["datasets"] == ["fer2013"]
    (entry,) = values["model-index"]
    assert entry["name"] == info.name
    for result in entry["results"]:
        measured = info.metrics[result["dataset"]["args"]["ground_truth"]]
        assert result["dataset"]["split"] == "validation"
        for metric in result["metrics"]:
            expected = measured[metric["type"]]
            assert metric["value"] == expected["value"]
            assert metric["args"]["interval"] == [expected["low"], expected["high"]]
            assert metric["args"]["n"] == measured["n"]
    assert [m["type"] for m in entry["results"][0]["metrics"]] == [
        "accuracy", "balanced_accuracy", "macro_f1"]  # fmt: skip


def test_metadata_of_other_models() -> None:
    info = ModelInfo("x", ("happy", "sad"), 48, "square-1", data="my own, train split",
                     licence="; ".join([OWN, PRETRAINED["dlib-face"]]))  # fmt: skip
    values = card_metadata(info, "user/name")
    assert values["license"] == "other"
    assert not {"datasets", "model-index", "metrics"} & set(values)
    pytest.importorskip("yaml")
    card = with_metadata("# x: 'y'\n\n---\n\nText.\n", values)
    assert front_matter(card.encode()) == values
    assert card.endswith("# x: 'y'\n\n---\n\nText.\n")
    assert with_metadata(card, values) == card


def test_nothing_is_sent_without_a_yes(
    hub: FakeHub, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run_mien(capsys, monkeypatch, "push", model, "user/name")
    assert (code, out) == (2, "")
    assert "--yes" in err
    assert "model.onnx" in err
    assert "no images, no data" in err
    assert hub.requests == []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    code, _, err = run_mien(capsys, monkeypatch, "push", model, "user/name")
    assert code == 1
    assert "nothing was uploaded" in err
    assert hub.requests == []


def test_the_command_prints_the_address(
    hub: FakeHub, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run_mien(capsys, monkeypatch, "push", model, "user/name", "--yes")
    assert code == 0, err
    assert out.strip() == f"hf://user/name@{hub.repositories['user/name'].commits[-1][0]}"
    assert TOKEN not in out + err


@pytest.mark.parametrize("wrong", ["", "hf_wrong"])
def test_without_a_token(
    hub: FakeHub, model: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", wrong)
    with pytest.raises(ModelFileError, match="is private") as caught:
        push(prepare_upload(model, "user/name"))
    assert "hf auth login" in caught.value.hint
    assert not hub.repositories


def test_what_is_not_pushed(hub: FakeHub, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelFileError, match="is not a repository's name"):
        prepare_upload(model, "name")
    with pytest.raises(ConfigError, match="needs its dataset"):
        prepare_upload(model.parent, "user/name")
    with pytest.raises(ModelFileError, match=r"weights\.pt is not a kind"):
        push(Upload("user/name", hub.url, "x", {"weights.pt": b"x"}))
    other = model.with_name("other.onnx")
    other.write_bytes(b"x")
    with pytest.raises(ModelFileError):
        prepare_upload(other, "user/name")
    model.with_suffix(".md").unlink()
    with pytest.raises(ModelFileError, match="has no model card"):
        prepare_upload(model, "user/name")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelFileError, match="forbids to push"):
        push(Upload("user/name", hub.url, "x", {}))
    assert hub.requests == []


def test_a_run_is_exported_and_pushed(hub: FakeHub, tmp_path: Path, drawn: Dataset) -> None:
    from tests.train.test_fit import recipe

    from mien.train.loop.fit import fit
    from mien.train.loop.pretrained import read_pretrained
    from mien.train.run.folder import create_run

    run = tmp_path / "run"
    settings = recipe(network={"mirror": True}, fit={"epochs": 1})
    fit(create_run(run, settings, drawn, run), drawn)
    address = push(prepare_upload(run, "user/mine", drawn, note="My own photos."))
    _, files = hub.repositories["user/mine"].commits[-1]
    assert set(files) == {"model.onnx", "README.md", "mien.json"}
    assert "My own photos." in files["README.md"].decode()
    # The run's fine-tuning starts from the hub's file.
    assert read_pretrained(address).labels == settings.learnt_labels
    assert weights_licence([recipe(fit={"init_from": address})]) == OWN
