"""The child process: loads the engine, then runs what it is told to.

Orders come in on standard input, reports go out on what was standard output; whatever a library prints goes to
standard error. The child ends when its standard input does, so that it never outlives the web process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import BinaryIO

from imagegen.errors import ImageGenError
from imagegen.logs import configure_logging
from imagegen.workers.desk import Desk
from imagegen.workers.messages import ORDER, Load, Report, WorkerGone, line


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # These reach the whole group: the web process decides.
    reports, writing = private_output(), threading.Lock()

    def report(message: Report) -> None:
        with writing:
            reports.write(line(message))
            reports.flush()

    orders = (ORDER.validate_json(text) for text in sys.stdin.buffer)
    load = next(orders, None)
    if isinstance(load, Load):
        configure_logging(load.log_format, load.log_dir and load.log_dir / "worker.jsonl")
        try:
            desk = Desk(load, report)
            desk.open(load.model)
        except ImageGenError as error:
            report(WorkerGone(reason=str(error)))
        else:
            for order in orders:
                desk.obey(order)
    os._exit(0)  # A step of a large model may take a minute, and nobody waits for it any more.


def private_output() -> BinaryIO:
    """Standard output for reports alone: from here on, prints go to standard error."""
    reports = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return reports


if __name__ == "__main__":
    main()
