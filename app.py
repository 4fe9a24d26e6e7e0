"""Entry point: reads the settings, builds the service, the APIs and the page, and serves until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from imagegen.stop_signals import handle_stop_signals
from imagegen.version import VERSION

if __name__ == "__main__" and "--version" in sys.argv[1:]:
    sys.stdout.write(f"{VERSION}\n")
    sys.exit()

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Gradio reads this on import.
os.environ["FORWARDED_ALLOW_IPS"] = ""  # Uvicorn reads this. RequestGuard reads what proxies say, not Uvicorn.
if __name__ == "__main__":
    handle_stop_signals(lambda: os._exit(0))  # Nothing has started yet that would have to end first.
    gc.disable()  # Collections would take a sixth of the start, and find nothing.

import anyio.to_thread
import gradio as gr
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import SettingsError

from imagegen.access import sessions
from imagegen.allocator import return_large_blocks
from imagegen.api.build import ApiBuilder
from imagegen.api.http_protocol import configure_http_server
from imagegen.errors import AddressUnavailable, FolderUnusable, NotOnDisk, map_exception
from imagegen.library.library import Library
from imagegen.listen_address import check_listen_address
from imagegen.logs import LogStream, configure_logging
from imagegen.service import Service
from imagegen.service_runner import ServiceRunner
from imagegen.settings import Settings, describe_settings_error, is_loopback, read_settings
from imagegen.storage.data_folder import create_folder, describe_os_error, hold_data_folder
from imagegen.storage.files import ImageStore
from imagegen.storage.job_repair import repair_jobs
from imagegen.storage.migrations import MIGRATIONS
from imagegen.storage.recovery import recover_database
from imagegen.storage.storage import Storage
from imagegen.workers.build import create_worker
from imagegen.workers.inline import InlineWorker
from imagegen.workers.local import LocalWorker
from ui.app import build_ui, get_launch_options, shrink_session_state

logger = logging.getLogger("studio")

SHUTDOWN_TIMEOUT_SECONDS = 10.0
MAX_WORKER_THREADS = 256
# A thread that waits without an end handles no signal on Windows, and none that the system gave to another thread.
WAIT_SECONDS = 0.5
WORKER_CLASSES: dict[str, type[LocalWorker | InlineWorker]] = {"local": LocalWorker, "inline": InlineWorker}


def build_service(settings: Settings) -> Service:
    """Returns the service over the data folder.

    Raises NotOnDisk, InvalidCatalogue, DatabaseTooNew, DatabaseUnusable and OSError.
    """
    data_dir = settings.data_dir.resolve()
    library = Library(settings)
    default_model = library.models.get(library.models.default_id)
    if default_model.source is None:
        raise NotOnDisk(default_model.info.id)
    worker = create_worker(settings, default_model.source, WORKER_CLASSES[settings.worker])
    return Service(settings, library, Storage(data_dir / "jobs.sqlite"), ImageStore(data_dir), worker)


def recover_databases(data_dir: Path) -> None:
    """Replaces damaged databases, and says in the log what was kept. Raises DatabaseTooNew and DatabaseUnusable."""
    repair = partial(repair_jobs, images=ImageStore(data_dir))
    recovery = recover_database(data_dir / "jobs.sqlite", MIGRATIONS, repair)
    if recovery is None:
        logger.info("The database is not damaged", extra={"action": "database_intact"})
    else:
        kept = recovery.kept
        logger.warning(
            "The database was damaged. %d jobs, %d events and %d pictures were kept; the damaged file is now %s",
            *(kept["jobs"], kept["events"], kept["pictures"], recovery.damaged_file),
            extra={"action": "database_recovered"},
        )
    recovery = recover_database(data_dir / "sessions.sqlite", sessions.MIGRATIONS)
    if recovery is not None:
        logger.warning(
            "The database of sessions was damaged. %d sessions were kept; the damaged file is now %s",
            *(recovery.kept["sessions"], recovery.damaged_file),
            extra={"action": "database_recovered"},
        )


def start(settings: Settings) -> None:
    """Serves while it holds the data folder. Raises errors of the start; see `imagegen/errors/start.py`."""
    data_dir = settings.data_dir.resolve()
    if settings.worker == "local":  # An engine in this process needs large blocks again and again.
        return_large_blocks()
    with hold_data_folder(data_dir):
        create_folder(settings.models_dir.resolve(), "--models-dir")
        check_listen_address(settings.host, settings.port)
        if settings.recover:
            recover_databases(data_dir)
        os.environ["GRADIO_TEMP_DIR"] = str(data_dir / "cache")
        serve(settings, build_service(settings))


def serve(settings: Settings, service: Service) -> None:
    """Serves until SIGINT or SIGTERM; then running jobs finish, unless a second signal comes.

    Raises the error that ended the service, and AddressUnavailable.
    """
    # `Event.set()` takes a lock and can deadlock in a signal handler; `SimpleQueue.put` is reentrant.
    stop_requests: SimpleQueue[None] = SimpleQueue()
    runner = ServiceRunner(service, settings.drain_timeout, on_end=lambda: stop_requests.put(None))
    api_builder = ApiBuilder(settings, service)
    configure_http_server(settings.request_timeout)
    demo = build_ui(service)
    handle_stop_signals(lambda: stop_requests.put(None))
    launch(demo, settings, api_builder, runner)
    gc.freeze()  # What is there now stays, and need not be looked through again.
    gc.enable()
    # A browser cannot open the address that stands for all IPv6 addresses.
    local_url = str(demo.local_url).replace("//[::]:", "//[::1]:")
    logger.info("The studio is at %s", local_url, extra={"action": "started", "access": settings.access_mode})
    if settings.access_mode == "open" and not is_loopback(settings.host):
        logger.warning(
            "Without sign-in, everyone who reaches this address can use the studio", extra={"action": "open"}
        )
    wait_for(stop_requests)
    if not runner.has_ended:
        logger.info("The studio stops when the running jobs have ended", extra={"action": "draining"})
        runner.drain()
        wait_for(stop_requests)  # A second signal, or the end of the service.
    # The service stops first. Otherwise the closing connections of waiting clients would cancel their jobs.
    runner.stop(SHUTDOWN_TIMEOUT_SECONDS)
    demo.close(verbose=False)
    api_builder.close()
    service.storage.close()
    if runner.error is not None:
        raise runner.error


def launch(demo: gr.Blocks, settings: Settings, api_builder: ApiBuilder, runner: ServiceRunner) -> None:
    """Starts the web server in a thread of its own, and the service on its event loop. Raises AddressUnavailable."""
    images = runner.service.images

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Gradio adds its own middleware to an app that it is given; ours must come before it.
        assert app.middleware_stack is not None
        app.middleware_stack = api_builder.wrap(app.middleware_stack)
        # Gradio serves files from these threads, and the studio reads and encodes pictures in them.
        anyio.to_thread.current_default_thread_limiter().total_tokens = MAX_WORKER_THREADS
        service_task = asyncio.create_task(runner.run())
        yield
        runner.stop(0)
        await service_task

    picture_folders = [images.pictures_dir, images.inputs_dir, images.thumbnails_dir]
    gr.set_static_paths(picture_folders)
    try:
        demo.launch(
            server_name=f"[{settings.host}]" if ":" in settings.host else settings.host,
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
            allowed_paths=list(map(str, picture_folders)),
            auth_dependency=lambda request: request.state.user.id if request.state.user else None,
            mcp_server=False,  # The studio has its own at the same address: `imagegen/api/mcp/`.
            root_path=api_builder.path_prefix,
            app_kwargs={"lifespan": lifespan},
            **get_launch_options(),
        )
    except OSError as error:  # Gradio raises it without a number when its server does not start.
        if error.errno is not None:
            raise
        problem = "another program uses it"
        raise AddressUnavailable(settings.host, settings.port, problem, "--port") from error
    shrink_session_state(demo)


def wait_for(requests: SimpleQueue[None]) -> None:
    """Returns when there is a request, and removes it."""
    while True:
        try:
            return requests.get(timeout=WAIT_SECONDS)
        except Empty:
            continue


def main() -> None:
    try:
        settings = read_settings(sys.argv[1:], os.environ)
    except (ValidationError, SettingsError) as error:
        sys.exit(describe_settings_error(error))
    try:
        open_log(settings)
        with redirect_stderr(LogStream()):
            start(settings)
    except Exception as error:
        end_process(describe_error(error))
    end_process()


def open_log(settings: Settings) -> None:
    """Raises FolderUnusable."""
    configure_logging(settings.log_format)
    if settings.log_dir is not None:
        try:
            configure_logging(settings.log_format, settings.log_dir / "studio.jsonl")
        except OSError as error:
            raise FolderUnusable(settings.log_dir, describe_os_error(error, settings.log_dir), "--log-dir") from error


def describe_error(error: Exception) -> str:
    """Returns a sentence for people. Errors that nobody expects go into the log with their traceback."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"The studio cannot use {error.filename}: {(error.strerror or str(error)).lower()}."
    return str(map_exception(error))


def end_process(problem: str = "") -> None:
    """Ends the process, also while a thread of a library or a connection of a client still waits for something."""
    if problem:
        sys.stderr.write(f"{problem}\n")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if problem else 0)


if __name__ == "__main__":
    main()
