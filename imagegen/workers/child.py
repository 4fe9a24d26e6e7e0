"""The child process of a LocalWorker: loads the engine, then handles commands.

Commands come in on standard input, reports go out on what was standard output; whatever a library prints goes to
standard error. The child exits when its standard input is closed, so that it never outlives the web process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from queue import SimpleQueue
from typing import BinaryIO

from imagegen.errors import ImageGenError
from imagegen.logs import configure_logging
from imagegen.workers.memory_limit import limit_process_memory
from imagegen.workers.messages import COMMAND_ADAPTER, Heartbeat, Report, WorkerConfig, WorkerGone, encode_line

HEARTBEAT_SECONDS = 1.0


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # A terminal sends these to the whole group; the web process decides.
    reports: SimpleQueue[Report] = SimpleQueue()
    threading.Thread(target=write_reports, args=(reports, reserve_stdout()), daemon=True).start()

    commands = (COMMAND_ADAPTER.validate_json(text) for text in sys.stdin.buffer)
    config = next(commands, None)
    if isinstance(config, WorkerConfig):
        configure_logging(config.log_format, config.log_file)
        threading.Thread(target=send_heartbeats, args=(config.name, reports), daemon=True).start()
        # These import torch, which takes ten seconds.
        from imagegen.engine.models.budget import compute_process_memory  # noqa: PLC0415
        from imagegen.workers.engine_host import EngineHost  # noqa: PLC0415

        try:
            host = EngineHost(config, reports.put)
            if host.engine.device == "cpu":
                limit_process_memory(compute_process_memory(config.worker_memory_gb, config.worker_count))
            host.start(config.model)
        except ImageGenError as error:
            reports.put(WorkerGone(worker=config.name, reason=str(error)))
            for _ in commands:  # Stay alive until the report has been read.
                pass
        else:
            for command in commands:
                host.handle(command)
    os._exit(0)  # Does not wait for the threads: a step of a large model may take a minute.


def send_heartbeats(worker: str, reports: SimpleQueue[Report]) -> None:
    """Reports once a second that the process is alive."""
    while True:
        reports.put(Heartbeat(worker=worker))
        time.sleep(HEARTBEAT_SECONDS)


def write_reports(reports: SimpleQueue[Report], output: BinaryIO) -> None:
    """Writes reports in a thread of its own, so that the threads that report do not wait for the reader."""
    while True:
        output.write(encode_line(reports.get()))
        if reports.empty():
            output.flush()


def reserve_stdout() -> BinaryIO:
    """Returns standard output for reports alone; from here on, prints go to standard error."""
    reports = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return reports


if __name__ == "__main__":
    main()
