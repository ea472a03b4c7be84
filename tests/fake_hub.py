"""A Hugging Face hub on loopback: the endpoints that huggingface_hub uses to load and to push.

Files of LFS are behind a redirect to another path, as on the real hub. Every request is recorded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

TOKEN = "hf_fakeTokenForTests"  # noqa: S105  (of this fake only)


@dataclass
class Repository:
    """One model: a list of commits, the last of which is 'main'."""

    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    private: bool = False
    gated: bool = False

    def add(self, files: dict[str, bytes]) -> str:
        content = b"".join(name.encode() + files[name] for name in sorted(files))
        before = self.commits[-1][1] if self.commits else {}
        commit = hashlib.sha1(content + bytes(len(self.commits))).hexdigest()  # noqa: S324
        self.commits.append((commit, {**before, **files}))
        return commit

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1] if self.commits else None
        return next((one for one in self.commits if one[0] == revision), None)


@dataclass
class FakeHub:
    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    status: int = 0
    """HTTP status of every answer, such as 503; 0 answers normally."""

    def add(
        self,
        repository: str,
        files: dict[str, bytes],
        *,
        private: bool = False,
        gated: bool = False,
    ) -> str:
        new = Repository(private=private, gated=gated)
        return self.repositories.setdefault(repository, new).add(files)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def patched_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A fake hub that huggingface_hub asks in this process, with an empty cache and no token."""
    reason = "huggingface_hub is not installed: pip install 'mien[hub]'"
    constants = pytest.importorskip("huggingface_hub.constants", reason=reason)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with fake_hub() as fake:
        # The library reads its environment once, when it is imported.
        set_endpoint(fake.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # The fake speaks LFS, the protocol of hubs without Xet.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        yield fake


def set_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve(b"")

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    do_PUT = do_POST

    def _serve(self, body: bytes) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path))
        if self.hub.status:
            self._send(self.hub.status)
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(*found.groups())
        elif path.startswith("/cdn/"):
            self._send(200, self.hub.objects[path[5:]])
        elif self.command == "PUT":
            self.hub.objects[path[5:]] = body
            self._send(200)
        else:
            self._api(path, body)

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repository = self.hub.repositories.get(name)
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not allowed):
            return self._send(401, error="RepoNotFound")
        if repository.gated and not allowed:
            return self._send(403, error="GatedRepo")
        found = repository.at(revision)
        if found is None:
            return self._send(404, error="RevisionNotFound")
        commit, files = found
        if file not in files:
            return self._send(404, error="EntryNotFound", headers={"X-Repo-Commit": commit})
        content = files[file]
        digest = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": commit, "ETag": f'"{digest[:40]}"'}
        if not file.endswith(".onnx"):
            return self._send(200, content, headers=headers)
        self.hub.objects[digest] = content
        headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content)),
                    "Location": f"{self._storage()}/cdn/{digest}"}  # fmt: skip
        return self._send(302, headers=headers)

    def _storage(self) -> str:
        # Another host's name: the library follows redirects within a hub and stops at others.
        return self.hub.url.replace("127.0.0.1", "localhost")

    def _api(self, path: str, body: bytes) -> None:  # noqa: PLR0911  (one for each endpoint)
        if path == "/api/validate-yaml":
            self.hub.cards.append(json.loads(body)["content"])
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401)
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith("/info/lfs/objects/batch"):
            href = f"{self.hub.url}/lfs"
            objects = [
                {**one, "actions": {"upload": {"href": f"{href}/{one['oid']}"},
                                    "verify": {"href": f"{href}/verify"}}}
                for one in json.loads(body)["objects"]
            ]  # fmt: skip
            return self._json({"transfer": "basic", "objects": objects})
        if path == "/lfs/verify":
            return self._send(200)
        name = "/".join(path.split("/")[3:5])
        if name not in self.hub.repositories:
            return self._send(404, error="RepoNotFound")
        if "/preupload/" in path:
            modes = [
                {"path": one["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if one["path"].endswith(".onnx") else "regular"}
                for one in json.loads(body)["files"]
            ]  # fmt: skip
            return self._json({"files": modes})
        return self._commit(name, body)

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if name in self.hub.repositories:
            return self._json({"error": "exists", "url": f"{self.hub.url}/{name}"}, status=409)
        private = wanted.get("private") or wanted.get("visibility") == "private"
        self.hub.repositories[name] = Repository(private=bool(private))
        return self._json({"url": f"{self.hub.url}/{name}"})

    def _commit(self, name: str, body: bytes) -> None:
        files = {}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        commit = self.hub.repositories[name].add(files)
        self._json({"success": True, "commitOid": commit, "hookOutput": "",
                    "commitUrl": f"{self.hub.url}/{name}/commit/{commit}"})  # fmt: skip

    def _json(self, value: Any, status: int = 200) -> None:
        headers = {"Content-Type": "application/json"}
        self._send(status, json.dumps(value).encode(), headers=headers)

    def _send(
        self,
        status: int,
        content: bytes = b"",
        error: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if error:
            self.send_header("X-Error-Code", error)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
