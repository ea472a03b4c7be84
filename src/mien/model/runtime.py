"""ONNX Runtime sessions; besides, only `publish/int8.py` imports onnxruntime, to quantize."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    NotImplemented,
    RuntimeException,
)

from mien.errors import ConfigError, ModelFileError, ResourceError, did_you_mean
from mien.imaging.crop import ALIGNMENT_ID
from mien.model.info import INPUT_NAME, OUTPUT_NAME, ModelInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)
_BROKEN = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile, NotImplemented)


MAX_THREADS = 256
"""ONNX Runtime starts any number of threads, whatever the cores; thousands crash the process."""
LARGE_BYTES = 8_000_000
"""Memory is released after larger inputs; a detector's usual ones have less than a tenth."""
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""ONNX Runtime's execution providers, by our names."""


def _providers(name: str) -> list[str]:
    """Return the provider, then the CPU for nodes that it cannot run.

    Raises:
        ConfigError: an unknown name, or a provider that this build of onnxruntime lacks.
    """
    if name not in PROVIDERS:
        raise ConfigError(
            f"no provider is called {name!r}",
            hint=did_you_mean(name, PROVIDERS) + f"known: {', '.join(PROVIDERS)}",
        )
    available = onnxruntime.get_available_providers()
    if PROVIDERS[name] not in available:
        ours = [own for own, full in PROVIDERS.items() if full in available]
        raise ConfigError(
            f"the provider {name} is not in this build of onnxruntime; it has: {', '.join(ours)}",
            hint="install the build that has it, such as onnxruntime-gpu for cuda or "
            "onnxruntime-openvino for openvino, in place of onnxruntime",
        )
    return list(dict.fromkeys([PROVIDERS[name], PROVIDERS["cpu"]]))


class Session:
    """A loaded ONNX graph.

    It may be used from several threads, pickled, copied and used in a forked process: a copy
    loads the graph again, from the same content, when it is first used.

    Args:
        content: of the ONNX file.
        name: for messages.
        threads: CPU threads (0 = all cores).
        provider: execution provider, one of PROVIDERS.
        lazy: load the graph when it is first used, which raises the errors below then.

    Raises:
        ModelFileError: the content is not an ONNX graph, or is truncated.
        ConfigError: the number of threads is out of range, or the provider is not available.
        ResourceError: not enough memory, or too many threads.
    """

    def __init__(
        self,
        content: bytes,
        name: str,
        threads: int = 0,
        provider: str = "cpu",
        *,
        lazy: bool = False,
    ) -> None:
        check_threads(threads)
        self._settings = (content, name, threads, provider)
        self.name = name
        self._session: Any = None
        if not lazy:
            self._open()

    def __getstate__(self) -> tuple[bytes, str, int, str]:
        return self._settings

    def __setstate__(self, state: tuple[bytes, str, int, str]) -> None:
        self._settings = state
        self.name = state[1]
        self._session = None

    def _open(self) -> None:
        content, name, threads, provider = self._settings
        # Otherwise ONNX Runtime keeps the memory that one very wide image took.
        self._shrinking = onnxruntime.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._session = _start(content, name, threads, provider)
        _Open.sessions.add(self)

    def _opened(self) -> Any:
        """Return ONNX Runtime's session of this process."""
        if self._session is None:
            with _Open.lock:
                if self._session is None:
                    self._open()
        return self._session

    def abandon(self) -> None:
        """Drop a session that a fork copied without its threads; ending it would wait for them."""
        if self._session is not None:
            # One reference too many, so that its destructor never runs.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
        self._session = None

    @property
    def metadata(self) -> dict[str, str]:
        """The string properties stored in the file."""
        return dict(self._opened().get_modelmeta().custom_metadata_map)

    @property
    def inputs(self) -> dict[str, tuple[str, list[Any]]]:
        """Type and shape of each input, by name."""
        return {i.name: (i.type, list(i.shape)) for i in self._opened().get_inputs()}

    @property
    def outputs(self) -> frozenset[str]:
        """Names of the outputs."""
        return frozenset(o.name for o in self._opened().get_outputs())

    def run(self, outputs: list[str], **inputs: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return the named outputs for the named inputs."""
        session = self._opened()
        large = sum(array.nbytes for array in inputs.values()) > LARGE_BYTES
        options = self._shrinking if large else None
        try:
            results: list[NDArray[np.float32]] = session.run(outputs, inputs, options)
        except (RuntimeException, MemoryError) as error:
            if not _is_shortage(error):
                raise
            raise _shortage(self.name, error) from error
        return results


class _Open:
    """The sessions of this process, and the lock for loading them again."""

    lock = threading.Lock()
    sessions: ClassVar[WeakSet[Session]] = WeakSet()

    @classmethod
    def after_fork(cls) -> None:
        cls.lock = threading.Lock()  # a thread that was not copied may hold the old one
        sessions, cls.sessions = list(cls.sessions), WeakSet()
        for session in sessions:
            session.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Open.after_fork)


def _start(content: bytes, name: str, threads: int, provider: str) -> Any:
    """Return ONNX Runtime's session for the content of a file."""
    providers = _providers(provider)
    options = onnxruntime.SessionOptions()
    # One pool: ONNX Runtime runs the nodes of a graph one after the other.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its warnings concern its developers
    # Spinning threads would take whole cores from other programs while they wait.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=providers)
    except (*_BROKEN, RuntimeException, MemoryError) as error:
        if _is_shortage(error):
            raise _shortage(name, error) from error
        first_line = str(error).splitlines()[0][:200]
        raise ModelFileError(
            f"{name} is not an ONNX model that can be loaded: {first_line}",
            hint="the file is damaged or cut short; get or export it again",
        ) from error
    if providers[0] not in session.get_providers():  # ONNX Runtime falls back to the CPU silently
        raise ConfigError(
            f"execution provider {provider} failed to initialise",
            hint="check that its device and driver are installed",
        )
    _LOG.debug("opened %s: providers %s, threads %d", name, session.get_providers(), threads)
    return session


def _is_shortage(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    # ONNX Runtime has no error class for this; the message alone tells.
    words = ("thread", "alloc", "memory")
    return isinstance(error, RuntimeException) and any(w in str(error).lower() for w in words)


def _shortage(name: str, error: Exception) -> ResourceError:
    reason = (str(error).splitlines() or ["out of memory"])[0][:200]
    return ResourceError(
        f"not enough memory or threads to run {name}: {reason}",
        hint="raise its limits on memory and processes (ulimit -v, -u), or set threads to 1",
    )


def check_threads(threads: int) -> None:
    """Raise a ConfigError unless `threads` is from 0 (all cores) to MAX_THREADS."""
    if not 0 <= threads <= MAX_THREADS:
        raise ConfigError(
            f"threads: {threads} is out of range 0 to {MAX_THREADS}", hint="0 uses all cores"
        )


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        # In a container with fewer cores than the machine, os.cpu_count would count them all.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_model(path: Path) -> bytes:
    """Return the content of a model file.

    Raises:
        ModelFileError: it is missing, unreadable or empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"cannot read the model {path}: {error.strerror}",
            hint="give an ONNX file that mien export wrote, or a shipped model's name: mien models",
        ) from error
    if not content:
        raise ModelFileError(f"the model {path} is empty (0 bytes)", hint="export it again")
    return content


def open_model(
    content: bytes, name: str, threads: int = 0, provider: str = "cpu"
) -> tuple[Session, ModelInfo]:
    """Return a session and the description in the model file, both validated.

    Raises:
        ModelFileError: damaged, without mien's metadata, of a newer schema, trained with another
            alignment, or with a graph that does not fit its description.
        ConfigError: the provider is not available.
    """
    session = Session(content, name, threads, provider)
    info = ModelInfo.from_metadata(session.metadata, path=name)
    if info.alignment != ALIGNMENT_ID:
        raise ModelFileError(
            f"{name} was trained on crops of alignment {info.alignment!r}; "
            f"this mien crops by {ALIGNMENT_ID!r}",
            hint="export the model again with this version of mien, after training with it",
        )
    expected = ("tensor(uint8)", [1, info.input_size, info.input_size])
    kind, shape = session.inputs.get(INPUT_NAME, ("nothing", []))
    if (kind, shape[1:]) != expected:
        raise ModelFileError(
            f"{name} takes {kind} {shape}, its description says {expected[0]} [n, "
            f"{', '.join(map(str, expected[1]))}]",
            hint="export the model again",
        )
    # Here and not at the first prediction, which may come hours later.
    missing = {OUTPUT_NAME, *(head.output for head in info.heads)} - session.outputs
    if missing:
        raise ModelFileError(
            f"{name} has no output {', '.join(sorted(missing))}, which its description names",
            hint="export the model again",
        )
    return session, info


def run_model(
    session: Session, pixels: NDArray[np.uint8], output: str = OUTPUT_NAME
) -> NDArray[np.float32]:
    """Return the logits of an output, float32 [n, k], for pixels, uint8 [n, 1, s, s]."""
    return session.run([output], **{INPUT_NAME: pixels})[0]
