"""The page `/docs`: every call, from the OpenAPI description; without scripts, works offline."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>mien: the calls of this server</title>
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/style.css">
<link rel="stylesheet" href="/assets/docs.css">
</head>
<body class="docs">
<a class="skip" href="#main">Skip to the calls</a>
<header><a href="/">mien</a> {version} <a href="/openapi.json">openapi.json</a></header>
<main id="main">
<h1>The calls of this server</h1>
<p>{about}</p>
<nav aria-label="Calls"><ul>{index}</ul></nav>
{calls}
</main>
</body>
</html>
"""
HEADER = ' -H "Authorization: Bearer $MIEN_TOKEN"'
SAMPLES = {"files": "photo.jpg", "file": "clip.mp4"}
"""What the examples send, by the name of the form's part."""


def page(openapi: Mapping[str, Any], sockets: Mapping[str, str], base: str, *, locked: bool) -> str:
    """Return the page as HTML.

    Args:
        openapi: the description of the calls.
        sockets: what WebSockets do, by their path: OpenAPI has no words for them.
        base: address of the server as its client calls it, without a slash at the end.
        locked: whether a token is needed.
    """
    schemas = openapi["components"]["schemas"]
    calls = [
        (method.upper(), path, call)
        for path, methods in openapi["paths"].items()
        for method, call in methods.items()
    ]
    articles = [_call(*call, schemas, base, locked) for call in calls]
    articles += [_socket(path, words, base) for path, words in sockets.items()]
    names = [(method, path) for method, path, _ in calls] + [("WS", path) for path in sockets]
    index = "".join(
        f'<li><a href="#{_anchor(method, path)}"><b>{method}</b>'
        f"<span>{escape(path)}</span></a></li>"
        for method, path in names
    )
    info = openapi["info"]
    about = _text(info["description"])
    return PAGE.format(
        version=escape(info["version"]), about=about, index=index, calls="\n".join(articles)
    )


def _call(
    method: str, path: str, call: Mapping[str, Any], schemas: Mapping[str, Any], base: str,
    locked: bool,
) -> str:  # fmt: skip
    token = HEADER if locked and path.startswith(("/v1/", "/metrics")) else ""
    return "\n".join(
        (
            _head(method, path, call["summary"]),
            f"<p>{_text(call.get('description', ''))}</p>",
            _parameters(call.get("parameters", ())),
            _body(call.get("requestBody")),
            _code(_curl(method, base + path, call.get("requestBody"), token)),
            _answers(call["responses"], schemas),
            "</article>",
        )
    )


def _socket(path: str, words: str, base: str) -> str:
    address = re.sub("^http", "ws", base) + path
    return f"{_head('WS', path, 'A camera')}<p>{_text(words)}</p>{_code(address)}</article>"


def _head(method: str, path: str, summary: str) -> str:
    name = f"<b>{method}</b> {escape(path)}"
    return (
        f'<article id="{_anchor(method, path)}"><h2>{escape(summary)}</h2>'
        f'<p class="call">{name}</p>'
    )


def _parameters(parameters: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        f"<tr><th scope=row><code>{escape(p['name'])}</code></th><td>{_kind(p['schema'])}</td>"
        f"<td>{_text(p.get('description', ''))}</td></tr>"
        for p in parameters
    ]
    if not rows:
        return ""
    head = "<tr><th scope=col>parameter</th><th scope=col>value</th><th scope=col>meaning</th></tr>"
    return f'<div class="wide" tabindex="0"><table>{head}{"".join(rows)}</table></div>'


def _kind(schema: Mapping[str, Any]) -> str:
    """Return what a value may be, in words."""
    one: Mapping[str, Any] = next(
        (kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"), schema
    )
    words = " or ".join(f"<code>{escape(str(v))}</code>" for v in one.get("enum", ()))
    words = words or escape(str(one.get("type", "")))
    if "minimum" in one:
        words += f", {one['minimum']:g} to {one['maximum']:g}"
    default = schema.get("default")
    return words if default is None else f"{words}; default {escape(json.dumps(default))}"


def _body(body: Mapping[str, Any] | None) -> str:
    if body is None:
        return ""
    form = body["content"]["multipart/form-data"]["schema"]["properties"]
    raw = next(kind for kind in body["content"] if kind != "multipart/form-data")
    return (
        f"<p>The body: a form with <code>{escape(next(iter(form)))}</code>, "
        f"or the raw <code>{escape(raw)}</code>.</p>"
    )


def _curl(method: str, url: str, body: Mapping[str, Any] | None, token: str) -> str:
    sent = "" if method in ("GET", "POST") else f" -X {method}"
    if body is not None:
        part = next(iter(body["content"]["multipart/form-data"]["schema"]["properties"]))
        sent = f" -F {part}=@{SAMPLES[part]}"
    return f"curl{sent}{token} {url.replace('{id}', '$ID')}"


def _answers(responses: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    items = []
    for status, answer in sorted(responses.items()):
        examples = [
            example
            for content in answer.get("content", {}).values()
            for example in _schema(content.get("schema", {}), schemas).get("examples", ())[:1]
        ]
        shown = ""
        if examples and status.startswith("2"):
            shown = _code(json.dumps(examples[0], indent=2))
        description = answer.get("description", "")
        words = "" if description == "Successful Response" else _text(description)
        items.append(f"<li><b>{status}</b> {words}{shown}</li>")
    return f"<details><summary>Answers</summary><ul>{''.join(items)}</ul></details>"


def _schema(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = schemas.get(name, schema)
    return found


def _anchor(method: str, path: str) -> str:
    return re.sub(r"\W+", "-", f"{method}{path}").strip("-").lower()


def _text(words: str) -> str:
    """Return words as HTML: what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(words))


def _code(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'
