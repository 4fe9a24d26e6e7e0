"""Reads the settings, builds the service, adds the doors, and serves until told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from queue import SimpleQueue
from urllib.parse import urlsplit

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Read when gradio is imported: the studio calls nobody.
if __name__ == "__main__":
    gc.disable()  # A sixth of the start would go into looking for garbage where there is none yet.

import anyio.to_thread
import gradio as gr
from fastapi import FastAPI
from pydantic import ValidationError

from imagegen.api.doors import Doors
from imagegen.errors import ImageGenError, NotOnDisk
from imagegen.images import ImageStore
from imagegen.jobs import JobStore
from imagegen.library.library import Library
from imagegen.logs import Printed, configure_logging
from imagegen.service import Service
from imagegen.settings import Settings, is_loopback, read_settings
from imagegen.workers.base import Worker
from imagegen.workers.inline import InlineWorker
from imagegen.workers.local import LocalWorker
from imagegen.workers.messages import Load
from ui.app import build_ui, keep_sessions_small, launch_options
from ui.mcp import let_tools_in

logger = logging.getLogger("studio")

PATIENCE = 10.0
THREADS = 256
WORKERS: dict[str, type[LocalWorker | InlineWorker]] = {"local": LocalWorker, "inline": InlineWorker}


def build_service(settings: Settings) -> Service:
    data_dir = settings.data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    library = Library(settings)
    first = library.models.get(library.models.first)
    if first.source is None:
        raise NotOnDisk(first.info.id)
    load = Load(
        model=first.source,
        data_dir=data_dir,
        device=settings.device,
        gpu_memory_gb=settings.gpu_memory_gb,
        memory_gb=settings.memory_gb,
        low_memory=settings.low_memory,
        exact=settings.exact,
        compile=settings.compile,
        log_format=settings.log_format,
        log_dir=settings.log_dir and settings.log_dir.resolve(),
    )
    worker: Worker = WORKERS[settings.worker](load)
    return Service(settings, library, JobStore(data_dir / "jobs.sqlite"), ImageStore(data_dir), worker)


def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM."""
    stop, stopped = threading.Event(), threading.Event()
    # A second signal may come while the first is handled: this can be put into at any time, and an event cannot be set.
    ends: SimpleQueue[None] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ends.put(None))
    os.environ["GRADIO_TEMP_DIR"] = str(settings.data_dir.resolve() / "cache")
    service = build_service(settings)

    async def work() -> None:
        await service.start()
        await asyncio.to_thread(stop.wait)
        await service.stop()
        stopped.set()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Gradio puts its own middleware around whatever it is given, and the gate must stand before that.
        assert app.middleware_stack is not None
        app.middleware_stack = doors.before(app.middleware_stack)
        # Gradio keeps a thread waiting for each tool that is called, and files are sent by the same threads.
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        working = asyncio.create_task(work())
        yield
        ends.put(None)
        await working

    doors = Doors(settings, service)
    demo = build_ui(service)
    gr.set_static_paths([service.images.pictures, service.images.inputs])
    with redirect_stdout(StringIO()):  # Gradio prints where MCP is, between the lines of the log.
        demo.launch(
            server_name=settings.host,
            server_port=settings.port,
            prevent_thread_lock=True,
            ssr_mode=False,
            quiet=True,
            share=False,
            inbrowser=False,
            show_error=False,
            enable_monitoring=False,
            run_history=False,
            max_file_size="20mb",
            allowed_paths=[str(service.images.pictures), str(service.images.inputs)],
            auth_dependency=lambda request: request.state.user.id if request.state.user else None,
            mcp_server=True,
            root_path=urlsplit(settings.public_url or "").path.rstrip("/"),
            app_kwargs={"lifespan": lifespan},
            **launch_options(),
        )
    keep_sessions_small(demo)
    let_tools_in(demo, doors.inside)
    gc.freeze()  # What is there now stays, and need not be looked through again.
    gc.enable()
    logger.info("The studio is at %s", demo.local_url, extra={"action": "started", "access": settings.mode})
    if settings.mode == "open" and not is_loopback(settings.host):
        logger.warning("Nobody has to sign in: whoever reaches this address may use it", extra={"action": "open"})
    ends.get()
    stop.set()
    # First the service, then the server: or those who wait in the queue would seem to have left it.
    stopped.wait(PATIENCE)
    demo.close(verbose=False)
    doors.close()
    service.jobs.close()


def main() -> None:
    try:
        settings = read_settings(sys.argv[1:], os.environ)
    except ValidationError as error:
        sys.exit("\n".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()))
    configure_logging(settings.log_format, settings.log_dir and settings.log_dir / "studio.jsonl")
    try:
        with redirect_stderr(Printed()):
            serve(settings)
    except ImageGenError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
