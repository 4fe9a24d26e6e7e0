"""The log: JSON lines on standard output, or readable text on a terminal."""

from __future__ import annotations

import io
import json
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from pythonjsonlogger.core import RESERVED_ATTRS, merge_record_extra
from pythonjsonlogger.json import JsonFormatter
from uvicorn.config import LOGGING_CONFIG

from imagegen.schema import GenerationRequest, Result

CHATTY = ("httpcore", "httpx", "httpx2", "mcp", "uvicorn.access")
FILE_BYTES = 10 * 2**20
FILES = 5


def configure_logging(log_format: str, log_file: Path | None = None) -> None:
    """Sends everything that this process logs to standard output, and as JSON lines to `log_file`, which rotates."""
    readable = log_format == "text" or (log_format == "auto" and sys.stdout.isatty())
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(TextFormatter() if readable else json_formatter())
    handlers: list[logging.Handler] = [console]
    if log_file is not None:
        handlers.append(file_handler(log_file))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # uvicorn configures logging when a server is made, long after this. It is left nothing to configure.
    LOGGING_CONFIG.update(formatters={}, handlers={}, loggers={})


class Printed(io.TextIOBase):
    """Stands where libraries print: each line becomes one of the log, so that nothing in it is taken for another."""

    def __init__(self) -> None:
        self._rest, self._busy = "", False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        logger = logging.getLogger("printed")
        if self._busy:  # The log itself is in trouble.
            return len(text)
        self._busy = True
        try:
            for line in filter(str.strip, lines):
                logger.warning("%s", line, extra={"action": "printed"})
        finally:
            self._busy = False
        return len(text)


def json_formatter() -> logging.Formatter:
    # The default keeps the place of the timestamp, which would otherwise come last.
    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level"},
        defaults={"timestamp": None},
        timestamp=True,
    )


def file_handler(log_file: Path) -> logging.Handler:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(log_file, maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8")
    handler.setFormatter(json_formatter())
    return handler


class TextFormatter(logging.Formatter):
    """A time, a sentence, and what belongs to it. Line breaks in either stay on the line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        extras = merge_record_extra(record, {}, RESERVED_ATTRS)
        facts = [f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in extras.items()]
        line = "  ".join([super().formatMessage(record), *facts])
        return line.replace("\r", "\\r").replace("\n", "\\n")


def generation_finished(logger: logging.Logger, request: GenerationRequest, result: Result, job_id: str) -> None:
    """The one line that each finished job leaves in the log."""
    logger.info(
        "Generation finished",
        extra={
            "prompt": request.prompt,
            "seed": request.seed,
            "model_id": result.pictures[0].receipt.model_id,
            "latency_ms": result.latency_ms,
            "vram_peak_mb": result.vram_peak_mb,
            "nsfw_detected": result.nsfw_detected,
            "cached": result.pictures[0].receipt.cached,
            "job_id": job_id,
        },
    )
