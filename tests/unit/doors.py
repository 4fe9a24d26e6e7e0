"""All doors around a worker that does as it is told, without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from PIL import Image
from starlette.types import Receive, Scope, Send

from imagegen.api.doors import Doors
from imagegen.images import ImageStore
from imagegen.jobs import JobStore
from imagegen.schema import Result
from imagegen.service import Service
from imagegen.settings import Settings
from tests.doubles import ScriptedWorker, library, receipt
from tests.unit.waiting import until


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """What Gradio would be."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the page"})


class Behind:
    """A studio behind its gate. `web` is a client without any sign-in."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.worker = ScriptedWorker()
        jobs, images = JobStore(folder / "jobs.sqlite"), ImageStore(settings.data_dir)
        self.service = Service(settings, library(folder), jobs, images, self.worker)
        self.doors = Doors(settings, self.service)
        self.app = self.doors.before(page)
        self.web = self.client()

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://127.0.0.1",
            headers=headers,
        )

    def finish(self, job_id: str | None = None, **facts: object) -> Result:
        """Lets the worker finish a job, the one that runs if none is named, with a grey picture."""
        picture = self.service.images.write(Image.new("RGB", (16, 16), "grey"), receipt(**facts))
        done = Result(pictures=(picture,), latency_ms=1200, vram_peak_mb=512.5)
        self.worker.tell(job_id or self.worker.current, done)
        return done


@asynccontextmanager
async def studio(folder: Path, **settings: object) -> AsyncIterator[Behind]:
    """One job runs at a time, so that tests can say which, unless they say otherwise."""
    usual = {"data_dir": folder / "data", "max_running": 1}
    behind = Behind(Settings.model_validate(usual | settings), folder)
    await behind.service.start()
    behind.worker.ready()
    await until(lambda: behind.service.state == "ready")
    yield behind
    await behind.service.stop()
    await behind.web.aclose()
    behind.doors.close()
    behind.service.jobs.close()
