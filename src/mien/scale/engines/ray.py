"""Ray: an actor for each worker, on an existing cluster or one that is started for the run.

Ray restarts nothing here: a dead actor is replaced by this engine, which knows the item that was
lost with it.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mien.errors import ClusterError, ConfigError, MissingExtraError
from mien.model.runtime import cores
from mien.scale.engine import MAX_START_FAILURES, Report, died
from mien.scale.engines.local import in_words
from mien.scale.fingerprint import Fingerprint, check_same, fingerprint
from mien.storage import within

if TYPE_CHECKING:
    from mien.scale.engine import MakeWorker

CONNECT_S = 3.0
"""Seconds for a connection to the cluster's port."""
JOIN_S = 6.0
"""Seconds for joining it after that; an unreachable cluster is reported within 10 s."""
START_S = 300.0
"""Seconds without a single worker that is ready: clusters that grow by demand take minutes."""
OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Of a cluster that is started for the run: items and rows are small."""


@dataclass(slots=True)
class _Slot:
    """One worker: its actor, and the call that it works on."""

    actor: Any
    pending: Any
    ready: bool = False
    ticket: int | None = None
    item: Any = None


class RayEngine:
    """Ray actors, one item at a time each.

    Args:
        workers: actors; 0 takes all CPUs of the cluster but one, which the driver has.
        threads: CPU threads of each worker, which is Ray's `num_cpus`.
        address: 'auto', or HOST:PORT of a cluster; '' starts one on this machine, which ends with
            this process.
    """

    name = "ray"

    def __init__(self, workers: int = 0, threads: int = 1, address: str = "") -> None:
        self.workers = self.capacity = workers
        self.threads, self.address = threads, address
        self.restarts = self._start_failures = 0
        self._ray: Any = None
        self._slots: list[_Slot] = []
        self._content: Any = None
        self._actor_class: Any = None
        self._ready_s = 0.0

    def open(self, make_worker: MakeWorker) -> None:
        """Connect, or start a cluster; start the actors.

        Raises:
            ClusterError: the cluster cannot be reached.
            MissingExtraError: Ray is not installed.
        """
        ray = load_ray()
        if self.address:
            join_cluster(ray, self.address)
        else:
            self.workers = self.workers or max(1, cores() // self.threads - 1)
            start_cluster(ray, self.workers * self.threads)
        self._ray = ray
        if not self.workers:
            cpus = int(ray.cluster_resources().get("CPU", 1))
            self.workers = max(1, (cpus - 1) // self.threads)
        self.capacity = self.workers
        # Once for all actors; as bytes, which each opens only after it has compared its mien.
        self._content = ray.put(pickle.dumps(make_worker))
        self._actor_class = ray.remote(num_cpus=self.threads, max_restarts=0)(_Actor)
        self._ready_s = time.monotonic()
        self._slots = [self._start() for _ in range(self.workers)]

    def _start(self) -> _Slot:
        actor = self._actor_class.remote()
        return _Slot(actor, actor.prepare.remote(self._content, fingerprint()))

    def submit(self, ticket: int, item: Any) -> None:
        """Give an item to an idle actor; one that has not started yet gets it when it has."""
        idle = [slot for slot in self._slots if slot.ticket is None]
        slot = min(idle, key=lambda slot: not slot.ready)
        slot.ticket, slot.item = ticket, item
        if slot.ready:
            slot.pending = slot.actor.process.remote(item)

    def wait(self, timeout_s: float) -> list[Report]:
        """Return the reports that came in; replace the actors that died.

        Raises:
            ClusterError: no worker starts, a worker has another mien, or cannot make what works
                on the items.
        """
        pending = {slot.pending: slot for slot in self._slots if slot.pending is not None}
        if not pending:
            return []
        ready, rest = self._ray.wait(list(pending), num_returns=1, timeout=timeout_s)
        if ready and rest:
            # All that came in meanwhile, too.
            ready += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        if any(slot.ready for slot in self._slots):
            self._ready_s = time.monotonic()
        elif not ready:
            self._refuse_late()
        reports = [self._receive(pending[call]) for call in ready]
        return [report for report in reports if report is not None]

    def _refuse_late(self) -> None:
        if time.monotonic() - self._ready_s > START_S:
            raise ClusterError(
                f"no worker was ready for {START_S:.0f} s",
                hint=f"each needs {self.threads} free CPUs: are they taken by other jobs?",
            )

    def _receive(self, slot: _Slot) -> Report | None:
        call, slot.pending = slot.pending, None
        try:
            kind, value = self._ray.get(call)
        except self._ray.exceptions.RayActorError as error:
            return self._died(slot, error)
        except self._ray.exceptions.RayError as error:
            # What does not unpickle over there: its mien lacks this module, for example.
            if not slot.ready:
                raise _unusable(error) from error
            kind, value = "failed", in_words(error)
        if kind == "prepared":
            check_same(value, "a worker")
            slot.ready, self._start_failures = True, 0
            if slot.ticket is not None:
                slot.pending = slot.actor.process.remote(slot.item)
            return None
        if kind == "other":
            check_same(value, "a worker")
        if kind == "unusable":
            raise ClusterError(f"a worker cannot start: {value}", hint="see the error above")
        ticket, slot.ticket, slot.item = slot.ticket, None, None
        assert ticket is not None  # noqa: S101  (only a call with an item ends like this)
        return Report(ticket, value) if kind == "done" else Report(ticket, error=value)

    def _died(self, slot: _Slot, error: Exception) -> Report | None:
        ticket, item, was_ready = slot.ticket, slot.item, slot.ready
        self.restarts += 1
        if not was_ready:
            self._start_failures += 1
            if self._start_failures >= MAX_START_FAILURES:
                raise _unusable(error)
        place = self._slots.index(slot)
        self._slots[place] = self._start()
        if ticket is None:
            return None
        if not was_ready:
            # It was not looked at yet: no fault of the item.
            self._slots[place].ticket, self._slots[place].item = ticket, item
            return None
        return Report(ticket, error=died(_how(error)))

    def close(self) -> None:
        """End the actors, and the cluster if it was started for the run."""
        if self._ray is None:
            return
        ray, self._ray = self._ray, None
        for slot in self._slots:
            ray.kill(slot.actor)
        self._slots = []
        ray.shutdown()


class _Actor:
    """A worker in its process."""

    def prepare(self, content: bytes, driver: Fingerprint) -> tuple[str, Any]:
        """Make the worker, if this process runs the same mien as the driver."""
        own = fingerprint()
        if own != driver:
            return "other", own
        try:
            self.worker = pickle.loads(content)()  # noqa: S301  (from the driver)
        except Exception as error:  # noqa: BLE001 - the driver reports it
            return "unusable", in_words(error)
        return "prepared", own

    def process(self, item: Any) -> tuple[str, Any]:
        """Process an item."""
        try:
            return "done", self.worker(item)
        except Exception as error:  # noqa: BLE001 - one item must not end the worker
            return "failed", in_words(error)


def load_ray() -> Any:
    """Return the module ray.

    Raises:
        MissingExtraError: it is not installed.
    """
    # mien sends nothing anywhere, so the library that it starts must not either.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would set it for workers without a GPU some day, and says so each time.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("ray", "engine='ray'") from error
    # Ray prints a paragraph on stdout for each worker that died, whatever log_to_driver says; the
    # engine reports each in its own words, and stdout may hold a user's data.
    if hasattr(ray._private.worker, "_worker_logs_enabled"):
        ray._private.worker._worker_logs_enabled = False
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def start_cluster(ray: Any, cpus: int) -> None:
    """Start Ray on this machine, for as long as this process runs.

    Args:
        ray: the module.
        cpus: of the workers; the driver has one more, which is left free.

    Raises:
        ClusterError: it does not start.
    """
    # Ray's workers run at a niceness of 15 by default: any other program would come first. Here the
    # priority of this process counts, as for the engine local.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray.init(
            address="local", num_cpus=cpus + 1, include_dashboard=False, logging_level="error",
            log_to_driver=False, configure_logging=False, object_store_memory=OBJECT_STORE_BYTES,
        )  # fmt: skip
    except Exception as error:
        ray.shutdown()  # what did start of it would stay
        # Plain exceptions, with a paragraph each.
        raise ClusterError(
            f"Ray does not start on this machine: {str(error).splitlines()[0][:160]}",
            hint="is the machine very busy, or short of memory? the engine local needs less",
        ) from error


def join_cluster(ray: Any, address: str) -> None:
    """Connect to a cluster, or say within ten seconds that it is not there.

    Raises:
        ClusterError: it cannot be reached.
        ConfigError: the address has another form.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "") or address
    if address != "auto":
        _knock(address)
    join = partial(
        ray.init, address=address, logging_level="error", log_to_driver=False,
        configure_logging=False,
    )  # fmt: skip
    try:
        # Ray itself tries for minutes, and has no limit that could be set.
        within(JOIN_S, join)
    except (Exception, SystemExit) as error:  # Ray's own are of many kinds
        found = str(error).splitlines()
        raise _unreachable(address, found[0] if found else type(error).__name__) from error


def _knock(address: str) -> None:
    """Open and close a connection to the cluster's port."""
    host, colon, port = address.rpartition(":")
    if "/" in address or not colon or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ConfigError(
            f"address: {address!r} is not a Ray cluster's address",
            hint="give HOST:PORT, such as 10.0.0.1:6379, or auto on a machine of the cluster",
        )
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error


def _unreachable(address: str, why: str) -> ClusterError:
    where = "no Ray cluster runs on this machine" if address == "auto" else (
        f"the Ray cluster {address} cannot be reached"
    )  # fmt: skip
    return ClusterError(
        f"{where}: {why}",
        hint="start one with 'ray start'; without address, mien starts one for the run",
    )


def _unusable(error: Exception) -> ClusterError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ClusterError(
        f"a worker cannot start: {lines[-1] if lines else type(error).__name__}",
        hint="install the same mien and Python on every machine of the cluster",
    )


def _how(error: Exception) -> str:
    """Return why an actor died, in a few words."""
    text = str(error)
    if "OOM" in text or ("memory" in text.lower() and "monitor" in text.lower()):
        return "out of memory"
    if "node" in text.lower() and "died" in text.lower() and "crash" not in text.lower():
        return "its machine is gone"
    return "killed or crashed"
