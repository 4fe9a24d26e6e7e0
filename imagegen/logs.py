"""Logging: JSON lines on standard output, or text on a terminal."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from pythonjsonlogger.core import RESERVED_ATTRS, merge_record_extra
from pythonjsonlogger.json import JsonFormatter
from uvicorn.config import LOGGING_CONFIG

from imagegen.schema.events import Result
from imagegen.schema.request import GenerationRequest

NOISY_LOGGERS = ("httpcore", "httpx", "httpx2", "mcp", "uvicorn.access")
MAX_LOG_FILE_BYTES = 10 * 2**20
LOG_BACKUP_COUNT = 5


def configure_logging(log_format: str, log_file: Path | None = None) -> None:
    """Logs to standard output, and as JSON lines to the rotating `log_file` if one is given. Replaces all handlers."""
    is_text = log_format == "text" or (log_format == "auto" and sys.stdout.isatty())
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(TextFormatter() if is_text else create_json_formatter())
    handlers: list[logging.Handler] = [console]
    if log_file is not None:
        handlers.append(create_file_handler(log_file))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(True)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    # uvicorn configures logging when a server is created, after this. Its configuration is emptied here.
    LOGGING_CONFIG.update(formatters={}, handlers={}, loggers={})


class LogStream(io.TextIOBase):
    """Replaces standard output or error: each line that a library prints becomes a log record."""

    def __init__(self) -> None:
        self._partial_line, self._is_writing = "", False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._partial_line = (self._partial_line + text).split("\n")
        logger = logging.getLogger("printed")
        if self._is_writing:  # A handler failed and prints that: do not recurse.
            return len(text)
        self._is_writing = True
        try:
            for line in filter(str.strip, lines):
                logger.warning("%s", line, extra={"action": "printed"})
        finally:
            self._is_writing = False
        return len(text)


def create_json_formatter() -> logging.Formatter:
    """Returns a formatter for JSON lines with `timestamp`, `level`, `name`, `message` and extra fields."""
    # The default puts `timestamp` first; without it the field would come last.
    return JsonFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level"},
        defaults={"timestamp": None},
        timestamp=True,
    )


def create_file_handler(log_file: Path) -> logging.Handler:
    """Returns a handler that writes JSON lines to a file and rotates it at MAX_LOG_FILE_BYTES."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(log_file, maxBytes=MAX_LOG_FILE_BYTES, backupCount=LOG_BACKUP_COUNT, encoding="utf-8")
    handler.setFormatter(create_json_formatter())
    return handler


class TextFormatter(logging.Formatter):
    """Formats a record as one line: time, level, message and extra fields. Line breaks are escaped."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        extras = merge_record_extra(record, {}, RESERVED_ATTRS)
        fields = [f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in extras.items()]
        line = "  ".join([super().formatMessage(record), *fields])
        return line.replace("\r", "\\r").replace("\n", "\\n")


def log_generation(
    logger: logging.Logger, request: GenerationRequest, result: Result, job_id: str, log_prompts: bool = True
) -> None:
    """Logs a finished job: what it was, how long it took, and how much GPU memory it used.

    Without `log_prompts`, the SHA-256 and the length of the prompt stand for the prompt.
    """
    logger.info(
        "Generation finished",
        extra={
            **({"prompt": request.prompt} if log_prompts else describe_prompt(request.prompt)),
            "seed": request.seed,
            "variation_seed": request.variation_seed,
            "variation_strength": request.variation_strength,
            "model_id": result.pictures[0].receipt.model_id,
            "latency_ms": result.latency_ms,
            "vram_peak_mb": result.vram_peak_mb,
            "nsfw_detected": result.nsfw_detected,
            "unfinished_at_step": result.pictures[0].receipt.unfinished_at_step,
            "cached": result.pictures[0].receipt.cached,
            "job_id": job_id,
        },
    )


def describe_prompt(prompt: str) -> dict[str, str | int]:
    return {"prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest(), "prompt_length": len(prompt)}
