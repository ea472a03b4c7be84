"""Files at addresses, such as s3://bucket/photo.jpg, through fsspec.

Credentials come from the environment only: never from an address, an option or a file of mien's.
Files are read where they are; only what needs a path of this machine is fetched first.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, TypeVar
from zipfile import BadZipFile

from mien.addresses import find_address
from mien.errors import ConfigError, MienError, MissingExtraError, SourceError
from mien.files import WriteError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

SCHEMES = ("s3", "gs", "hf", "https", "http", "zip", "memory")
"""Addresses that are read; all but https and http are also written, zip is not."""
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "HF_TOKEN",
}
"""Variables of the environment that hold credentials, by scheme."""
AWS_VARIABLES = (
    "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip
CONNECT_S, READ_S = 4.0, 30.0
"""Seconds for a connection, and for the next bytes of an answer."""
REACH_S = 7.0
"""Seconds for the first answer of a storage: an unreachable one is reported within 10 s."""
BLOCK_BYTES = 2 * 1024 * 1024
"""Bytes that are read at once of a file that is read in parts."""
REFUSALS = frozenset({"PermissionError", "NoCredentialsError", "GatedRepoError"})
"""Names of the exceptions by which libraries say that access is refused."""
_REFUSED = re.compile(r"\b(401|403)\b|Forbidden|AccessDenied|InvalidAccess")
_WITH_SECRET = re.compile(r"[A-Za-z0-9+.-]+://[^/@]*:[^/@]*@")
_INNER = re.compile(r"::([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")
_reached: set[str] = set()


def storage_address(text: str | os.PathLike[str] | None) -> str | None:
    """Return the address in `text` if it is one that mien reads, else None.

    'zip://photos.zip' stands for all files in an archive on this machine.

    Raises:
        ConfigError: it holds a user name and a password.
    """
    address = None if text is None else find_address(text)
    if address is None:
        return None
    scheme = scheme_of(address)
    if scheme not in SCHEMES:
        return None
    # pathlib drops a slash of each part of a chain, too.
    address = _INNER.sub(r"::\1://", address)
    if _WITH_SECRET.match(address.rpartition("::")[2]):
        raise ConfigError(
            f"a {scheme}:// address must not hold a user name and a password",
            hint=f"set {CREDENTIALS.get(scheme, 'them')} in the environment instead",
        )
    if scheme == "zip" and "::" not in address:
        address = f"zip://::{address.removeprefix('zip://')}"
    return address


def scheme_of(address: str) -> str:
    """Return the scheme of an address, in lower case."""
    return address.partition(":")[0].lower()


def read_content(address: str) -> bytes:
    """Return the content of a file.

    Raises:
        SourceError: it cannot be read.
        MissingExtraError: the packages for its scheme are not installed.
    """
    return _ask(address, lambda fs, path: bytes(fs.cat_file(path)))


def open_file(address: str) -> IO[bytes]:
    """Return a file to read parts of, from anywhere in it; only these are transferred.

    Raises:
        SourceError, MissingExtraError: see `read_content`.
    """
    options = {"block_size": BLOCK_BYTES, "cache_type": "bytes"}
    return _ask(address, lambda fs, path: fs.open(path, "rb", **options))


def exists(address: str) -> bool:
    """Return whether there is a file or folder.

    Raises:
        SourceError, MissingExtraError: see `read_content`.
    """
    return _ask(address, lambda fs, path: bool(fs.exists(path)))


def list_files(address: str) -> list[str]:
    """Return the address of a file, of the files in a folder and its subfolders, or of a glob's.

    Sorted; hidden files and folders are left out.

    Raises:
        SourceError: there is none, or the storage cannot be listed.
        MissingExtraError: see `read_content`.
    """

    def find(fs: Any, path: str) -> list[str]:
        if any(character in path for character in "*?["):
            named = (name for name in fs.glob(path) if not _is_hidden(name.rpartition("/")[2]))
            found = [name for name in named if fs.isfile(name)]
        # What a web server has is known only when it is asked for.
        elif scheme_of(address) in ("http", "https") or fs.isfile(path):
            return [address]
        else:
            found = list(fs.find(path))
            inner = len(path.strip("/"))
            found = [n for n in found if not _is_hidden(n.strip("/")[inner:])]
        if not found:
            raise FileNotFoundError(path)
        return sorted(_with_scheme(address, name) for name in found)

    return _ask(address, find)


def _is_hidden(relative: str) -> bool:
    return any(part.startswith(".") for part in relative.strip("/").split("/"))


def _with_scheme(address: str, path: str) -> str:
    """Return the address of a path that was listed at another address of the same storage."""
    scheme = scheme_of(address)
    if scheme in ("http", "https"):
        return path
    chain = address.partition("::")[2]
    return f"{scheme}://{path.lstrip('/')}" + (f"::{chain}" if chain else "")


def file_name(address: str) -> str:
    """Return the last part of an address: 'photo.jpg' of 's3://bucket/photo.jpg'."""
    inner, _, chain = address.partition("::")
    path = inner.partition("://")[2].partition("?")[0]
    return PurePosixPath(path or chain).name


def fetch(address: str, folder: Path) -> Path:
    """Download a file, or a folder with all that is in it; return its path in `folder`.

    Raises:
        SourceError, MissingExtraError: see `list_files`.
    """
    files = list_files(address)
    target = folder / file_name(address)
    inner = address.partition("::")[0].rstrip("/")
    for file in files:
        relative = file.partition("::")[0].removeprefix(inner).strip("/")
        place = target / relative if relative else target
        if any(character in inner for character in "*?["):
            place = target.with_name(file_name(file))
        place.parent.mkdir(parents=True, exist_ok=True)
        _ask(file, lambda fs, path, place=place: fs.get_file(path, str(place)))  # type: ignore[misc]
    return target


def write_content(address: str, content: bytes) -> None:
    """Write a file: complete, or not at all.

    Raises:
        WriteError: it cannot be written.
        MissingExtraError: the packages for its scheme are not installed.
    """
    check_writable(address)
    _ask(address, lambda fs, path: fs.pipe_file(path, content), write=True)


def upload(local: Path, address: str, last: Sequence[str] = ()) -> None:
    """Upload a file, or a folder with all that is in it but hidden files.

    Args:
        local: on this machine.
        address: of the file or folder to write.
        last: names of files that are uploaded after all others, which say that it is complete.

    Raises:
        WriteError: it cannot be written.
    """
    check_writable(address)
    files = [local] if local.is_file() else [
        path for path in sorted(local.rglob("*"))
        if path.is_file() and not _is_hidden(path.relative_to(local).as_posix())
    ]  # fmt: skip
    for path in sorted(files, key=lambda path: path.name in last):
        relative = "" if path == local else "/" + path.relative_to(local).as_posix()
        target = address.rstrip("/") + relative
        _ask(target, lambda fs, to, path=path: fs.put_file(str(path), to), write=True)  # type: ignore[misc]


def check_writable(address: str) -> None:
    """Raise a WriteError, before the work, where nothing can be written or nobody answers."""
    if scheme_of(address) in ("http", "https", "zip"):
        raise WriteError(
            f"cannot write {address}: {scheme_of(address)}:// can only be read",
            hint="write to this machine, or to s3://, gs:// or hf://",
        )
    _ask(address, lambda fs, path: fs.exists(path), write=True)


def _ask(address: str, work: Callable[[Any, str], T], *, write: bool = False) -> T:
    """Return what `work` returns for the file system and the path; explain its errors."""
    storage = f"{scheme_of(address)}:{address.partition('::')[2]}"
    found_error: MienError
    try:
        fs, path = _open(address)
        if storage not in _reached and scheme_of(address) != "memory":
            # A small question first: listing a large bucket may take minutes, reaching it not.
            within(REACH_S, lambda: fs.exists(path))
        _reached.add(storage)
        return work(fs, path)
    except MienError:
        raise
    except Exception as error:  # noqa: BLE001 - each storage's library has its own exceptions
        found_error = _explain(address, error, write=write)
    # Outside of the handler: a traceback must not show requests, which may be signed.
    raise found_error


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returns; raise a TimeoutError after so many seconds.

    The work then continues in a daemon thread, so what it does must be harmless.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    # Some libraries try again for minutes, and have no limit that could be set.
    thread = threading.Thread(target=run, daemon=True, name="mien-within")
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not result:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return result[0]


def _open(address: str) -> tuple[Any, str]:
    """Return fsspec's file system and the path in it."""
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("cloud", f"reading {scheme_of(address)}:// addresses") from error
    parts = {scheme_of(part) for part in address.split("::") if "://" in part}
    options = {scheme: _options(scheme) for scheme in parts}
    fs, path = fsspec.core.url_to_fs(address, **{k: v for k, v in options.items() if v})
    if hasattr(fs, "retries"):
        fs.retries = 2  # s3fs waits and tries five times
    return fs, str(path)


def _options(scheme: str) -> dict[str, Any]:
    """Return what a scheme's file system is made with."""
    if scheme == "s3":
        # Without credentials in the environment, public buckets are read anonymously. botocore
        # would ask a machine's metadata service for some, which costs seconds elsewhere.
        anonymous = not any(os.environ.get(name) for name in AWS_VARIABLES)
        config = {
            "connect_timeout": CONNECT_S, "read_timeout": READ_S, "retries": {"max_attempts": 1},
        }  # fmt: skip
        return {"anon": anonymous, "config_kwargs": config}
    if scheme == "gs":
        return {"token": os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or "anon"}
    if scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S)
        return {"client_kwargs": {"timeout": timeout}}
    return {}


def _explain(address: str, error: Exception, *, write: bool) -> MienError:
    """Return the error of a storage in words that a user can act upon."""
    kind: type[MienError] = WriteError if write else SourceError
    scheme = scheme_of(address.rpartition("::")[2]) if "://" in address else ""
    verb = "write" if write else "read"
    shown = address.partition("?")[0]  # a query may be a signature
    names = {type(e).__name__ for e in (error, error.__cause__, error.__context__) if e is not None}
    text = str(error)
    if isinstance(error, ImportError):
        return MissingExtraError.of("cloud", f"reading {scheme_of(address)}:// addresses")
    if isinstance(error, BadZipFile):
        return kind(f"cannot {verb} {shown}: the archive is damaged", hint="copy it again")
    refused = ("PermissionError", "NoCredentialsError", "AccessDenied", "GatedRepoError")
    if names & set(refused) or re.search(
        r"\b(401|403)\b|Forbidden|AccessDenied|InvalidAccess", text
    ):
        variables = CREDENTIALS.get(scheme)
        where = f"set {variables} in the environment" if variables else "give another address"
        return kind(f"cannot {verb} {shown}: access is refused", hint=where)
    if isinstance(error, FileNotFoundError) or names & {"NoSuchBucket", "NoSuchKey"}:
        return kind(f"cannot {verb} {shown}: there is no such file or folder",
                    hint="check the address")  # fmt: skip
    away = ("Timeout", "Connect", "DNS", "gaierror", "SSL", "HttpError", "HTTPError")
    if isinstance(error, TimeoutError | ConnectionError) or any(
        part in name for name in names for part in away
    ):
        why = text.partition("?")[0].splitlines()[0][:120] if text else type(error).__name__
        return kind(
            f"cannot {verb} {shown}: the storage cannot be reached ({why})",
            hint="check the network, and variables such as AWS_ENDPOINT_URL",
        )
    reason = getattr(error, "strerror", None) or (text.splitlines() or [type(error).__name__])[0]
    return kind(f"cannot {verb} {shown}: {reason[:160]}", hint="check the address")
