"""What is promised: OpenAPI, the forms of answers, and that no request is answered with 500."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serve.running import check_documented, encoded, openapi, problem, running
from tests.video.clips import write_clip

import mien.cli.serve as command
from mien.serve.schema import (
    HealthBody,
    ImagesBody,
    JobBody,
    ModelsBody,
    ProblemBody,
    VideoBody,
)
from mien.serve.settings import Limits
from mien.serve.upload import BodyParts


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running(tmp_path_factory.mktemp("server"), rate=0) as client:
        yield client


def test_openapi_names_every_call_with_its_problems(server: httpx.Client) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    calls = {(m.upper(), p): call for p, methods in paths.items() for m, call in methods.items()}
    assert set(calls) == {
        ("POST", "/v1/predict"), ("POST", "/v1/video"), ("GET", "/v1/video/{id}"),
        ("DELETE", "/v1/video/{id}"), ("GET", "/v1/video/{id}/result"), ("GET", "/v1/models"),
        ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
    }  # fmt: skip
    for (_, path), call in calls.items():
        assert {"403", "421", "422", "500"} <= set(call["responses"])
        if path.startswith("/v1/"):
            assert {"401", "429"} <= set(call["responses"])
    body = calls["POST", "/v1/predict"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "image/*"}


OPERATIONS = [
    (method, path, operation)
    for path, operations in openapi()["paths"].items()
    for method, operation in operations.items()
]


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS]
)
def test_every_route_is_documented(method: str, path: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"].endswith(".")
    for parameter in operation.get("parameters", ()):
        assert parameter["description"], parameter["name"]
    assert ("requestBody" in operation) == (method == "post")
    good = [status for status in operation["responses"] if status.startswith("2")]
    assert len(good) == 1
    for status, response in operation["responses"].items():
        assert response["description"] not in ("", "Successful Response")
        for kind, content in response.get("content", {}).items():
            if status.startswith("2"):
                schema = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
                schemas = openapi()["components"]["schemas"]
                assert "example" in content or schemas[schema]["examples"], kind
            else:
                assert kind == "application/problem+json"
                ProblemBody.model_validate(content["example"], strict=True)
                assert content["example"]["status"] == int(status)
        assert "content" in response or status == "204"


def test_undocumented_errors_are_noticed() -> None:
    # What `running` does with every response of every test.
    request = httpx.Request("GET", "http://x/v1/models")
    kind = {"content-type": "application/problem+json"}
    check_documented(httpx.Response(401, request=request, headers=kind))
    with pytest.raises(AssertionError):
        check_documented(httpx.Response(418, request=request, headers=kind))
    with pytest.raises(AssertionError):
        check_documented(httpx.Response(401, request=request, text="no problem"))


def test_the_page_docs_has_every_call_and_no_script(server: httpx.Client) -> None:
    answer = server.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    text = answer.text
    paths = server.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method, call in methods.items():
            assert f"<b>{method.upper()}</b> {path}</p>" in text
            assert escape(call["summary"]) in text
            for parameter in call.get("parameters", ()):
                assert f"<code>{parameter['name']}</code>" in text
    assert "<b>WS</b> /v1/live</p>" in text
    assert "number, 0 to 1" in text
    assert f"curl -F files=@photo.jpg {server.base_url.join('/v1/predict')}" in text
    assert not re.search(r"<script|style=|\son\w+=|https?://(?!127\.0\.0\.1)", text)
    for address in re.findall(r'(?:href|src)="([^"#]+)"', text):
        assert server.get(address).status_code == 200, address
    assert server.head("/docs").status_code == 200


def test_the_page_docs_says_that_a_token_is_needed(tmp_path: Path) -> None:
    with running(tmp_path, token="secret") as server:  # noqa: S106
        text = server.get("/docs").text
    assert "Bearer $MIEN_TOKEN" in text
    assert "secret" not in text


def test_a_wrong_method_lists_all_allowed_ones(server: httpx.Client) -> None:
    assert server.put("/v1/video/x").headers["Allow"] == "DELETE, GET"
    assert server.get("/v1/predict").headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("call", "name", "hint"),
    [
        ("POST /v1/predict?min_confidense=0.9", "'min_confidense'", "did you mean"),
        ("POST /v1/predict?anotate=true&x=1", "'anotate'", "annotate, faces, min"),
        ("POST /v1/video?every=2&evry=3", "'evry'", "did you mean 'every'"),
        ("GET /v1/video/x/result?fromat=csv", "'fromat'", "did you mean 'format'"),
        ("GET /v1/models?token=secret", "'token'", "Authorization: Bearer"),
        ("GET /healthz?a%0Ab=1", "'a\\nb'", "takes no parameters"),
        ("GET /v1/models?" + "x" * 999, "xxx...", "takes no parameters"),
        ("POST /v1/video?every=2&every=3", "'every'", "at most once"),
    ],
)  # fmt: skip
def test_unknown_parameters_are_refused(
    server: httpx.Client, call: str, name: str, hint: str
) -> None:
    method, _, path = call.partition(" ")
    body = problem(server.request(method, path, content=encoded()), 422)
    assert name in body["detail"]
    assert hint in body["hint"]


def test_openapi_has_examples_that_are_true(server: httpx.Client) -> None:
    schemas = server.get("/openapi.json").json()["components"]["schemas"]
    for model in (ImagesBody, JobBody, ModelsBody, VideoBody, HealthBody):
        [example] = schemas[model.__name__]["examples"]
        model.model_validate(example, strict=True)
    schema = ProblemBody.model_json_schema()
    ProblemBody.model_validate(schema["examples"][0], strict=True)


def test_answers_have_the_promised_form(
    server: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = [("files", encoded()), ("files", b"words")]
    params = {"annotate": True}
    images = server.post("/v1/predict", params=params, files=files).json()
    ImagesBody.model_validate(images, strict=True)
    ModelsBody.model_validate(server.get("/v1/models").json(), strict=True)
    ProblemBody.model_validate(server.get("/v1/video/none").json(), strict=True)
    clip = write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", 5).read_bytes()
    location = server.post("/v1/video", content=clip).headers["Location"]
    while (job := server.get(location).json())["status"] != "done":
        JobBody.model_validate(job, strict=True)
    VideoBody.model_validate(server.get(f"{location}/result").json(), strict=True)


def mutated(content: bytes, cuts: list[tuple[int, bytes]]) -> bytes:
    for place, piece in cuts:
        at = place % (len(content) + 1)
        content = content[:at] + piece + content[at + len(piece) :]
    return content


KINDS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
CUTS = st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=20)), max_size=6)
IMAGES = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda kind, cuts: mutated(encoded(kind), cuts), st.sampled_from(KINDS), CUTS),
)
KNOWN = {200, 202, 204, 400, 404, 405, 409, 413, 415, 422}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    images=st.lists(IMAGES, min_size=1, max_size=3),
    params=st.dictionaries(
        st.sampled_from(["model", "min_confidence", "faces", "annotate", "every"]),
        st.one_of(st.text(max_size=20), st.sampled_from(["0.5", "whole", "true", "fake"])),
        max_size=3,
    ),
    raw=st.booleans(),
    path=st.sampled_from(["/v1/predict", "/v1/predict", "/v1/video"]),
)
def test_no_upload_is_answered_with_500(
    server: httpx.Client, images: list[bytes], params: dict[str, str], raw: bool, path: str
) -> None:
    if raw:
        answer = server.post(path, params=params, content=images[0])
    else:
        answer = server.post(path, params=params, files=[("files", p) for p in images])
    assert answer.status_code in KNOWN, answer.text


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "ODD"]),
    path=st.one_of(
        st.sampled_from(["/v1/video/x", "/v1/video/x/result", "/v1/models", "/", "/assets/x"]),
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30),
    ),
    headers=st.dictionaries(
        st.sampled_from(["Authorization", "Origin", "Content-Type", "If-None-Match", "Range"]),
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30), max_size=3,
    ),
    content=st.binary(max_size=100),
)  # fmt: skip
def test_no_request_is_answered_with_500(
    server: httpx.Client, method: str, path: str, headers: dict[str, str], content: bytes
) -> None:
    url = server.base_url.copy_with(raw_path=b"/" + httpx.URL("http://x/" + path.lstrip("/"))
                                    .raw_path.lstrip(b"/"))  # fmt: skip
    answer = server.request(method, url, headers=headers, content=content)
    assert answer.status_code in KNOWN | {403, 304, 206, 416}, (answer.status_code, answer.text)


def form(parts: list[tuple[str, bytes]]) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://x", files=[(n, ("n", c)) for n, c in parts])
    return request.read(), request.headers["Content-Type"]


@settings(deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from(["files", "file", "other"]), st.binary(max_size=60)),
                   min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 900), max_size=8),
)  # fmt: skip
def test_a_form_is_the_same_however_it_arrives(
    parts: list[tuple[str, bytes]], cuts: list[int]
) -> None:
    body, kind = form(parts)
    found: list[bytes] = []

    def write(data: bytes) -> None:
        found[-1] += data

    taken = BodyParts(kind, 9, lambda: found.append(b""), write)
    places = sorted({0, len(body), *(c % len(body) for c in cuts)})
    for start, end in pairwise(places):
        taken.feed(body[start:end])
    taken.finish()
    assert found == [content for name, content in parts if name != "other"]


def test_every_limit_is_an_option() -> None:
    text = Path(command.__file__).read_text(encoding="utf-8")
    assert all(f"--max-{n.replace('_', '-')}" in text for n in Limits.__dataclass_fields__)
    options = inspect.signature(command.serve).parameters
    for limit in fields(Limits):
        assert options[f"max_{limit.name}"].default == limit.default, limit.name
