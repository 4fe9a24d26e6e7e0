"""What goes wrong, for whom, and how often."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """Strikes requests whose "METHOD /path" `pattern` is found in, `times` times; None is for ever.

    `delay` is in seconds, `cut` in bytes of the body, `slow` in bytes per second. The latter two are about the contents
    of files, and leave other answers alone.
    """

    pattern: str
    times: int | None = 1
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    slow: int | None = None

    @property
    def about_contents(self) -> bool:
        return self.cut is not None or self.slow is not None


class Faults:
    """Those that are still to strike. Of several that fit a request, the earliest does."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._left: list[tuple[Fault, int | None]] = [(fault, fault.times) for fault in faults]
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._left.append((fault, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._left.clear()

    def take(self, request: str, *, about_contents: bool) -> Fault | None:
        with self._lock:
            for place, (fault, left) in enumerate(self._left):
                if fault.about_contents == about_contents and left != 0 and re.search(fault.pattern, request):
                    self._left[place] = (fault, None if left is None else left - 1)
                    return fault
        return None
