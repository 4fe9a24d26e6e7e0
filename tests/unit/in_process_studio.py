"""All APIs with a scripted worker, without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from PIL import Image
from starlette.types import Receive, Scope, Send

from imagegen.api.build import ApiBuilder
from imagegen.schema.events import Result
from imagegen.settings import Settings
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage
from tests.doubles import ScriptedWorker, make_library, make_receipt
from tests.unit.settled_service import SettledService
from tests.unit.wait import wait_until_true


async def serve_page(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes the place of Gradio."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the page"})


class InProcessStudio:
    """A studio behind its middleware. `client_without_token` is an HTTP client without sign-in."""

    def __init__(self, settings: Settings, folder: Path, workers: Sequence[str] = ()) -> None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.worker = ScriptedWorker(*workers)
        storage, images = Storage(folder / "jobs.sqlite"), ImageStore(settings.data_dir)
        self.service = SettledService(settings, make_library(folder), storage, images, self.worker)
        self.doors = ApiBuilder(settings, self.service)
        self.app = self.doors.wrap(serve_page)
        self.client_without_token = self.make_client()

    def make_client(self, token: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://127.0.0.1",
            headers=headers,
        )

    def finish_job(self, job_id: str | None = None, **facts: object) -> Result:
        """Finishes a job with a gray picture; by default the running one."""
        picture = self.service.images.write_picture(Image.new("RGB", (16, 16), "grey"), make_receipt(**facts))
        done = Result(pictures=(picture,), latency_ms=1200, vram_peak_mb=512.5)
        self.worker.emit_event(job_id or self.worker.current_job_id, done)
        return done


@asynccontextmanager
async def run_in_process_studio(
    folder: Path, workers: Sequence[str] = (), **settings: object
) -> AsyncIterator[InProcessStudio]:
    """By default one job runs at a time, so that tests know which."""
    defaults = {"data_dir": folder / "data", "max_running": 1}
    in_process_studio = InProcessStudio(Settings.model_validate(defaults | settings), folder, workers)
    await in_process_studio.service.start()
    in_process_studio.worker.report_ready()
    await wait_until_true(lambda: in_process_studio.service.worker_state == "ready")
    yield in_process_studio
    await in_process_studio.service.stop()
    await in_process_studio.client_without_token.aclose()
    in_process_studio.doors.close()
    in_process_studio.service.storage.close()
