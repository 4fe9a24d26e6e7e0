"""The tools for jobs, of whatever API they come from: list, look up, cancel, end early."""

from __future__ import annotations

from mcp.types import ContentBlock, TextContent
from pydantic import Field

from imagegen.api.mcp.picture_tools import build_url_text
from imagegen.api.mcp.resource_tools import NoArguments
from imagegen.api.mcp.tool import Caller, Tool
from imagegen.api.rest.messages import dump_message
from imagegen.api.rest.pictures import get_job_answer
from imagegen.schema.base import FrozenModel
from imagegen.service import Service


class JobArguments(FrozenModel):
    job_id: str = Field(min_length=1, max_length=100, description="The id of one of your jobs.")


class JobTools:
    def __init__(self, service: Service) -> None:
        self.service = service

    def create(self) -> list[Tool]:
        list_help = "Lists your jobs that run or wait, the oldest first."
        get_help = "Returns the state of one of your jobs, and the addresses of its pictures when it is done."
        cancel_help = "Cancels one of your jobs; one that runs ends at its next step. A finished job is no error."
        finish_help = (
            "Ends one of your running jobs after its next step, and keeps the pictures as they are then: unfinished, as"
            " their receipts say. A finished job is no error."
        )
        return [
            Tool("list_jobs", list_help, NoArguments, self.list_jobs, only_reads=True),
            Tool("get_job", get_help, JobArguments, self.get_job, only_reads=True),
            Tool("cancel_job", cancel_help, JobArguments, self.cancel_job),
            Tool("finish_job", finish_help, JobArguments, self.finish_job),
        ]

    async def list_jobs(self, _: NoArguments, caller: Caller) -> list[ContentBlock]:
        jobs = await self.service.list_unfinished_jobs(caller.user)
        return [content for job in jobs for content in await self.describe_job(job.id, caller)]

    async def get_job(self, arguments: JobArguments, caller: Caller) -> list[ContentBlock]:
        """Raises UnknownJob."""
        return await self.describe_job(arguments.job_id, caller)

    async def cancel_job(self, arguments: JobArguments, caller: Caller) -> list[ContentBlock]:
        """Raises UnknownJob."""
        await self.service.cancel(arguments.job_id, caller.user)
        return await self.describe_job(arguments.job_id, caller)

    async def finish_job(self, arguments: JobArguments, caller: Caller) -> list[ContentBlock]:
        """Raises UnknownJob and NothingToKeep."""
        await self.service.finish_early(arguments.job_id, caller.user)
        return await self.describe_job(arguments.job_id, caller)

    async def describe_job(self, job_id: str, caller: Caller) -> list[ContentBlock]:
        """Returns the job as REST does, and the addresses of its pictures."""
        answer = await get_job_answer(self.service, job_id, caller.user)
        pictures = (answer.result, *answer.result.others) if answer.result is not None else ()
        return [
            TextContent(type="text", text=dump_message(answer)),
            *(build_url_text(picture.id, caller) for picture in pictures),
        ]
