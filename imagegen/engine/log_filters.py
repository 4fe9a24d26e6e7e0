"""Filters for known, harmless messages that libraries log while they are imported and load models."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def suppress_messages(logger_name: str, *prefixes: str) -> Iterator[None]:
    """Drops messages that begin with one of the prefixes from that logger, inside the `with` block."""

    def is_wanted(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(prefixes)

    logger = logging.getLogger(logger_name)
    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)
