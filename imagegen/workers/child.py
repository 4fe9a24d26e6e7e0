"""The child process: loads the engine, then runs what it is told to.

Orders come in on standard input, reports go out on what was standard output; whatever a library prints goes to
standard error. The child ends when its standard input does, so that it never outlives the web process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from queue import SimpleQueue
from typing import BinaryIO

from imagegen.errors import ImageGenError
from imagegen.logs import configure_logging
from imagegen.workers.desk import Desk
from imagegen.workers.messages import ORDER, Load, Report, WorkerGone, line


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # These reach the whole group: the web process decides.
    reports: SimpleQueue[Report] = SimpleQueue()
    threading.Thread(target=write, args=(reports, private_output()), daemon=True).start()

    orders = (ORDER.validate_json(text) for text in sys.stdin.buffer)
    load = next(orders, None)
    if isinstance(load, Load):
        configure_logging(load.log_format, load.log_dir and load.log_dir / "worker.jsonl")
        try:
            desk = Desk(load, reports.put)
            desk.open(load.model)
        except ImageGenError as error:
            reports.put(WorkerGone(reason=str(error)))
            for _ in orders:  # Until it has been heard.
                pass
        else:
            for order in orders:
                desk.obey(order)
    os._exit(0)  # A step of a large model may take a minute, and nobody waits for it any more.


def write(reports: SimpleQueue[Report], output: BinaryIO) -> None:
    """A thread of its own: whoever has something to report does not wait until it is read."""
    while True:
        output.write(line(reports.get()))
        if reports.empty():
            output.flush()


def private_output() -> BinaryIO:
    """Standard output for reports alone: from here on, prints go to standard error."""
    reports = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return reports


if __name__ == "__main__":
    main()
