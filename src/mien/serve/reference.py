"""The page `/docs`: API reference rendered from the OpenAPI description, without scripts."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Any

from mien.serve.security import PROTECTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>mien: API reference</title>
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/assets/style.css">
<link rel="stylesheet" href="/assets/docs.css">
</head>
<body class="docs">
<a class="skip" href="#main">Skip to the endpoints</a>
<header><a href="/">mien</a> {version} <a href="/openapi.json">openapi.json</a></header>
<main id="main">
<h1>API reference</h1>
<p>{about}</p>
<nav aria-label="Endpoints"><ul>{index}</ul></nav>
{operations}
</main>
</body>
</html>
"""
HEADER = ' -H "Authorization: Bearer $MIEN_TOKEN"'
SAMPLES = {"files": "photo.jpg", "file": "clip.mp4"}
"""Example files for curl, by the name of the form part."""


def page(
    openapi: Mapping[str, Any], sockets: Mapping[str, str], base: str, *, requires_token: bool
) -> str:
    """Return the page as HTML.

    Args:
        openapi: OpenAPI description of the server.
        sockets: description of each WebSocket by path: OpenAPI cannot describe them.
        base: URL of the server as its client calls it, without a trailing slash.
        requires_token: whether the examples need an Authorization header.
    """
    schemas = openapi["components"]["schemas"]
    operations = [
        (method.upper(), path, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    articles = [_operation(*one, schemas, base, requires_token) for one in operations]
    articles += [_socket(path, text, base) for path, text in sockets.items()]
    names = [(method, path) for method, path, _ in operations] + [("WS", path) for path in sockets]
    index = "".join(
        f'<li><a href="#{_anchor(method, path)}"><b>{method}</b>'
        f"<span>{escape(path)}</span></a></li>"
        for method, path in names
    )
    info = openapi["info"]
    about = _text(info["description"])
    return PAGE.format(
        version=escape(info["version"]), about=about, index=index,
        operations="\n".join(articles),
    )  # fmt: skip


def _operation(
    method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any], base: str,
    requires_token: bool,
) -> str:  # fmt: skip
    token = HEADER if requires_token and path.startswith(PROTECTED) else ""
    return "\n".join(
        (
            _head(method, path, operation["summary"]),
            f"<p>{_text(operation.get('description', ''))}</p>",
            _parameters(operation.get("parameters", ())),
            _body(operation.get("requestBody")),
            _code(_curl(method, base + path, operation.get("requestBody"), token)),
            _responses(operation["responses"], schemas),
            "</article>",
        )
    )


def _socket(path: str, text: str, base: str) -> str:
    url = re.sub("^http", "ws", base) + path
    head = _head("WS", path, "Predict expressions in a camera stream")
    return f"{head}<p>{_text(text)}</p>{_code(url)}</article>"


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
    head = (
        "<tr><th scope=col>parameter</th><th scope=col>type</th><th scope=col>description</th></tr>"
    )
    return f'<div class="wide" tabindex="0"><table>{head}{"".join(rows)}</table></div>'


def _kind(schema: Mapping[str, Any]) -> str:
    """Return the type, range and default of a parameter, as HTML."""
    one: Mapping[str, Any] = next(
        (kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"), schema
    )
    values = " or ".join(f"<code>{escape(str(v))}</code>" for v in one.get("enum", ()))
    text = values or escape(str(one.get("type", "")))
    if "minimum" in one:
        text += f", {one['minimum']:g} to {one['maximum']:g}"
    default = schema.get("default")
    return text if default is None else f"{text}; default {escape(json.dumps(default))}"


def _body(body: Mapping[str, Any] | None) -> str:
    if body is None:
        return ""
    form = body["content"]["multipart/form-data"]["schema"]["properties"]
    raw = next(kind for kind in body["content"] if kind != "multipart/form-data")
    return (
        f"<p>Request body: a multipart form with the part <code>{escape(next(iter(form)))}</code>, "
        f"or one raw <code>{escape(raw)}</code>.</p>"
    )


def _curl(method: str, url: str, body: Mapping[str, Any] | None, token: str) -> str:
    sent = "" if method in ("GET", "POST") else f" -X {method}"
    if body is not None:
        part = next(iter(body["content"]["multipart/form-data"]["schema"]["properties"]))
        sent = f" -F {part}=@{SAMPLES[part]}"
    return f"curl{sent}{token} {url.replace('{id}', '$ID')}"


def _responses(responses: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    items = []
    for status, response in sorted(responses.items()):
        examples = [
            example
            for content in response.get("content", {}).values()
            for example in _examples(content, schemas)[:1]
        ]
        shown = ""
        if examples and status.startswith("2"):  # all problems look alike
            example = examples[0]
            text = example if isinstance(example, str) else json.dumps(example, indent=2)
            shown = _code(text.rstrip())
        description = response.get("description", "")
        # FastAPI's default description says nothing.
        text = "" if description == "Successful Response" else _text(description)
        items.append(f"<li><b>{status}</b> {text}{shown}</li>")
    return f"<details><summary>Responses</summary><ul>{''.join(items)}</ul></details>"


def _examples(content: Mapping[str, Any], schemas: Mapping[str, Any]) -> Sequence[Any]:
    """Return the examples of a response: its own, or those of its schema."""
    if "example" in content:
        return (content["example"],)
    examples: Sequence[Any] = _schema(content.get("schema", {}), schemas).get("examples", ())
    return examples


def _schema(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = schemas.get(name, schema)
    return found


def _anchor(method: str, path: str) -> str:
    return re.sub(r"\W+", "-", f"{method}{path}").strip("-").lower()


def _text(text: str) -> str:
    """Return text as HTML; text between backticks becomes code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _code(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'
