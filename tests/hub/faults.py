"""Faults that the stand-in injects into its responses."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """A fault for the next `times` requests whose "METHOD /path" contains `pattern`; None is for all.

    `delay` is in seconds, `cut` in bytes of the body, `slow` in bytes per second. The latter two apply only to the
    contents of files. A response that is slow goes on at full speed when `is_over` is set.
    """

    pattern: str
    times: int | None = 1
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    slow: int | None = None
    is_over: threading.Event = field(default_factory=threading.Event, compare=False)

    @property
    def about_contents(self) -> bool:
        return self.cut is not None or self.slow is not None


class Faults:
    """The remaining faults: those of repositories, and added ones. Of several that match, the earliest is used."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._of_repositories = tuple(faults)
        self._left: list[tuple[Fault, int | None]] = [(fault, fault.times) for fault in self._of_repositories]
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._left.append((fault, fault.times))

    def clear(self) -> None:
        """Removes the added faults, also from responses that are slow at this moment."""
        with self._lock:
            added = [fault for fault, _ in self._left if fault not in self._of_repositories]
            self._left = [(fault, left) for fault, left in self._left if fault in self._of_repositories]
        for fault in added:
            fault.is_over.set()

    def take(self, request: str, *, about_contents: bool) -> Fault | None:
        with self._lock:
            for index, (fault, left) in enumerate(self._left):
                if fault.about_contents == about_contents and left != 0 and re.search(fault.pattern, request):
                    self._left[index] = (fault, None if left is None else left - 1)
                    return fault
        return None
