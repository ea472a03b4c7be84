"""Items to results, on any engine: retries, order, progress. Read `map_items` first."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mien.scale.engine import Engine

Item = TypeVar("Item")

ATTEMPTS = 3
"""An item that fails so many times is given up."""
WAIT_S = 0.5
"""Seconds between two looks at the engine where nothing is reported."""
AHEAD = 64
"""In order: items that may be finished while an earlier one is not."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Item]):
    """What became of an item.

    Attributes:
        item: as given, or a part of it, see `map_items`.
        value: what the worker returned; None where it failed.
        error: why it was given up; '' if it was not.
        attempts: how often it was tried.
    """

    item: Item
    value: Any = None
    error: str = ""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is.

    Attributes:
        done: items that are finished or given up.
        failed: items, or parts of items, that were given up.
        total: items in all.
        restarts: workers that died and were replaced.
    """

    done: int
    failed: int
    total: int
    restarts: int


@dataclass(slots=True)
class _Attempt(Generic[Item]):
    number: int
    """Of the whole item, from 0."""
    item: Item
    failures: int = 0


def map_items(
    engine: Engine,
    items: Sequence[Item],
    *,
    attempts: int = ATTEMPTS,
    ordered: bool = False,
    split: Callable[[Item], Sequence[Item]] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[Outcome[Item]]:
    """Yield the outcome of each item; each comes exactly once, failed or not.

    An item fails if its worker raises an exception or dies. It is tried again, by a new worker
    where the old one died, and given up after `attempts` failures. To resume, leave out the items
    whose outcomes are kept already.

    Args:
        engine: opened.
        items: what the workers get; picklable. A list may grow between two outcomes: what is
            appended is worked on as well.
        attempts: 1 or more.
        ordered: yield the outcomes in the order of the items, not as they finish.
        split: returns the parts of an item: when it fails, each of them is tried by itself, so
            that one bad part does not take the others with it. A part that is the item itself is
            not split again.
        progress: progress callback, called after each outcome and each restart.

    Raises:
        ClusterError: see `Engine.wait`.
    """
    work = _Work(items, attempts, ordered, split)
    seen = -1
    while not work.is_done:
        while len(work.running) < engine.capacity and (attempt := work.next()) is not None:
            engine.submit(*attempt)
        for report in engine.wait(WAIT_S):
            work.take(report.ticket, report.value, report.error)
        changed = len(work.finished) > 0 or engine.restarts != seen
        seen = engine.restarts
        if changed and progress is not None:
            progress(Progress(work.done, work.failed, len(items), engine.restarts))
        yield from work.outcomes()


@dataclass(slots=True)
class _Work(Generic[Item]):
    """The items of one `map_items`: those that wait, those that run, those that are finished."""

    items: Sequence[Item]
    attempts: int
    ordered: bool
    split: Callable[[Item], Sequence[Item]] | None
    running: dict[int, _Attempt[Item]] = field(default_factory=dict)
    again: deque[_Attempt[Item]] = field(default_factory=deque)
    finished: deque[tuple[int, Outcome[Item]]] = field(default_factory=deque)
    held: dict[int, list[Outcome[Item]]] = field(default_factory=dict)
    open_parts: dict[int, int] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    first_open: int = 0
    _next: int = 0
    _tickets: int = 0

    @property
    def is_done(self) -> bool:
        return self.done == len(self.items) and not self.finished and not self.held

    def next(self) -> tuple[int, Item] | None:
        """Return the ticket and the item to submit next, or None."""
        if self.again:
            # First: in order, everything else waits for it.
            attempt = self.again.popleft()
        elif self._next < len(self.items) and not self._too_far():
            attempt = _Attempt(self._next, self.items[self._next])
            self.open_parts[self._next] = 1
            self._next += 1
        else:
            return None
        self._tickets += 1
        self.running[self._tickets] = attempt
        return self._tickets, attempt.item

    def _too_far(self) -> bool:
        # A bound of the memory: outcomes wait for an item that fails again and again.
        return self.ordered and self._next - self.first_open >= max(AHEAD, 4 * len(self.running))

    def take(self, ticket: int, value: Any, error: str) -> None:
        """Take in what became of a running item."""
        attempt = self.running.pop(ticket)
        if not error:
            self._finish(attempt, Outcome(attempt.item, value, "", attempt.failures + 1))
            return
        failures = attempt.failures + 1
        parts: Sequence[Item] = [attempt.item]
        if self.split is not None:
            parts = self.split(attempt.item)
        if len(parts) > 1:
            # Each part has failed once, as far as anyone knows.
            self.open_parts[attempt.number] += len(parts) - 1
            self._retry(_Attempt(attempt.number, part, failures) for part in parts)
        elif failures < self.attempts:
            self._retry([_Attempt(attempt.number, attempt.item, failures)])
        else:
            self.failed += 1
            self._finish(attempt, Outcome(attempt.item, None, error, failures))

    def _retry(self, attempts: Iterable[_Attempt[Item]]) -> None:
        self.again.extendleft(reversed(list(attempts)))

    def _finish(self, attempt: _Attempt[Item], outcome: Outcome[Item]) -> None:
        self.finished.append((attempt.number, outcome))
        self.open_parts[attempt.number] -= 1
        if not self.open_parts[attempt.number]:
            self.done += 1

    def outcomes(self) -> Iterator[Outcome[Item]]:
        """Yield what can be yielded now."""
        while self.finished:
            number, outcome = self.finished.popleft()
            if not self.ordered:
                yield outcome
            else:
                self.held.setdefault(number, []).append(outcome)
        # Parts of one item come in the order in which they finished.
        while self.open_parts.get(self.first_open) == 0:
            del self.open_parts[self.first_open]
            yield from self.held.pop(self.first_open, [])
            self.first_open += 1
