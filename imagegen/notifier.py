"""Wakes the tasks that wait for a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakValueDictionary


class Notifier:
    """Has one event per topic, for as long as somebody holds it.

    Get the event first, then check the state, then wait: no notification is lost on one event loop.
    """

    def __init__(self) -> None:
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def get_event(self, topic: str) -> asyncio.Event:
        """Returns the event that the next notification of a topic sets."""
        event = self._events.get(topic)
        if event is None:
            event = self._events[topic] = asyncio.Event()
        return event

    def notify(self, topic: str) -> None:
        event = self._events.pop(topic, None)
        if event is not None:
            event.set()

    def notify_all(self, predicate: Callable[[str], bool] = lambda _: True) -> None:
        """Notifies all topics that fulfil the predicate."""
        for topic in filter(predicate, list(self._events)):
            self.notify(topic)
