"""Requests to a Hugging Face hub: the library, and its errors in words that a user can act upon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from mien.errors import MissingExtraError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MANIFEST = "mien.json"
"""File in a model's repository that names its files, their sizes and hashes."""


def load_library(feature: str) -> Any:
    """Return the module huggingface_hub.

    Raises:
        MissingExtraError: it is not installed; `feature` needs it.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("hub", feature) from error
    return huggingface_hub


def ask_hub(what: str, request: Callable[[], T]) -> T:
    """Return what a request of huggingface_hub returns; turn its errors into a ModelFileError.

    Args:
        what: the repository, for messages.
        request: calls the library.

    Raises:
        ModelFileError: the hub cannot be reached or refuses, or there is no such model.
    """
    try:
        return request()
    except Exception as error:
        # An upload's error is wrapped; the cause says what the hub answered.
        wrapped = isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception)
        found = _explain(what, error.__cause__ if wrapped else error)  # type: ignore[arg-type]
        if found is None:
            raise
    # Outside of the handler: a traceback of --verbose must not show addresses of requests, which
    # may be signed, or an endpoint with a password.
    raise found


def _explain(what: str, error: Exception) -> ModelFileError | None:
    """Return the error for one of huggingface_hub's; None where it is not the hub's."""
    from huggingface_hub import errors

    status, where = _status(error), endpoint()
    if isinstance(error, errors.OfflineModeIsEnabled) or is_offline():
        return ModelFileError(
            f"{what} is not in the local cache, and HF_HUB_OFFLINE forbids to ask the hub",
            hint="unset HF_HUB_OFFLINE for the first load; later ones need no network",
        )
    if status in (401, 403, 404) or isinstance(error, errors.RepositoryNotFoundError):
        return _refused(what, where, error)
    # The library reports an unreachable hub as a file that its cache lacks.
    unreachable = (errors.LocalEntryNotFoundError, ConnectionError, TimeoutError)
    clients = ("httpx", "httpcore", "requests", "urllib3")
    if isinstance(error, unreachable) or type(error).__module__.startswith(clients):
        return ModelFileError(
            f"{what} is not in the local cache, and {where} cannot be reached",
            hint="check the network and HF_ENDPOINT; a model that was loaded once needs no network",
        )
    if isinstance(error, errors.HfHubHTTPError):
        return ModelFileError(
            f"{what}: {where} failed" + (f" (HTTP {status})" if status else ""),
            hint="try again later; with HTTP 429, log in or wait",
        )
    if isinstance(error, OSError):
        return ModelFileError(
            f"{what}: cannot write to the hub's local cache: {error.strerror or error}",
            hint="free some space, or set HF_HOME to a folder that you may write to",
        )
    return None


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _refused(what: str, where: str, error: Exception) -> ModelFileError:
    """Return the error for a model or file that does not exist or that the user may not see."""
    from huggingface_hub import errors

    log_in = "log in with 'hf auth login', or set HF_TOKEN to a token that may access it"
    # Subclasses first: a gated repository is a kind of missing one, to the library.
    if isinstance(error, errors.GatedRepoError):
        return ModelFileError(
            f"{what} is gated: {where} gives it only to users who accepted its conditions",
            hint=f"accept them on the model's page, then {log_in}",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelFileError(
            f"{what}: {where} has no such revision of this model",
            hint="give a branch, a tag or a commit that the model's page lists",
        )
    if isinstance(error, errors.EntryNotFoundError):
        return ModelFileError(
            f"{what} has no {MANIFEST} or lacks a file that it names: not a model that mien can "
            "load",
            hint="models come on a hub by: mien push RUN USER/NAME",
        )
    if _status(error) == 403:
        return ModelFileError(
            f"{what}: {where} forbids it (403)", hint=f"ask its owner for access, or {log_in}"
        )
    # Hubs answer 401 for both, so that nobody learns the names of private models.
    return ModelFileError(
        f"{what}: there is no such model on {where}, or it is private",
        hint=f"check the name; for a private model {log_in}",
    )


def endpoint() -> str:
    """Return the address of the hub that is asked, without user name and password."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_offline() -> bool:
    """Return whether HF_HUB_OFFLINE forbids requests."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)
