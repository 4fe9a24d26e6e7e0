"""The signals that ask the studio to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable

# Windows sends no SIGTERM to other processes, but has SIGBREAK (Ctrl+Break); other systems have no SIGBREAK.
STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]


def handle_stop_signals(handler: Callable[[], None]) -> None:
    """Calls the handler, in the main thread, for each such signal from now on. Replaces an earlier handler."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: handler())
