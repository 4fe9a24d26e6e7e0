"""Libraries say things on import and while they load that are known here, and no news to anybody who reads the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unsaid(logger_name: str, *beginnings: str) -> Iterator[None]:
    """Meanwhile the logger drops messages with these beginnings, and no others."""

    def is_news(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(beginnings)

    logger = logging.getLogger(logger_name)
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)
