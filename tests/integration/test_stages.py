"""The stages of a job run one after another, and its progress is over all of them."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
import torch

from imagegen.engine.adapters.adapter_cache import AdapterCache
from imagegen.engine.batching.batcher import Batcher
from imagegen.engine.batching.pass_timer import PassTimer
from imagegen.engine.engine import Engine, JobInputs
from imagegen.engine.job import EngineJob
from imagegen.engine.run_loop import RunLoop, complete_future
from imagegen.engine.stage_runner import StageOutput, StageRunner
from imagegen.engine.stages import Stage, plan_stages
from imagegen.engine.upscaling.upscaler_cache import UpscalerCache
from imagegen.schema.events import Progress
from tests.integration.conftest import ANY_IMAGE, EMBEDDED, Generate, new_control, request


def test_a_request_is_one_stage_with_the_input_pictures_that_it_names() -> None:
    assert plan_stages(request()) == (Stage("base", "text_to_image"),)
    assert plan_stages(request(init_image=ANY_IMAGE)) == (Stage("base", "image_to_image", ("init_image",)),)


def run_stages(
    engine: Engine, *stages: Stage, finish_at: tuple[int, int] | None = None
) -> tuple[StageOutput, list[Progress]]:
    """Returns the pictures and the progress of a job with these stages. It is ended early at a stage and a step."""
    control, events, done = new_control(), list[Progress](), Future[StageOutput]()

    def on_progress(event: Progress) -> None:
        events.append(event)
        if (event.stage, event.step) == finish_at:
            control.finish_requested.set()

    loop = RunLoop(Batcher(PassTimer(torch.device("cpu"), int), exact=False, free_memory=bool).process)
    with engine.store.use(EMBEDDED) as model:
        runner = StageRunner(
            JobInputs(request(), EMBEDDED),
            model,
            AdapterCache().resolve_adapters((), model),
            (),
            UpscalerCache(torch.device("cpu")),
            control,
            on_progress,
        )

        def run() -> None:
            complete_future(done, lambda: runner.run_all(stages))

        loop.post(lambda: loop.start(run, EngineJob(EMBEDDED, run, control)))
        return done.result(), events


def test_progress_is_over_all_stages(engine: Engine, generate: Generate) -> None:
    output, events = run_stages(engine, Stage("base", "text_to_image"), Stage("second", "text_to_image"))
    assert [(event.stage, event.stages, event.step) for event in events] == [
        *((1, 2, step) for step in (1, 2, 3)),
        *((2, 2, step) for step in (1, 2, 3)),
    ]
    assert [round(event.fraction, 2) for event in events] == [0.17, 0.33, 0.5, 0.67, 0.83, 1.0]
    assert output.images[0].tobytes() == generate().images[0].tobytes()
    assert output.unfinished_at_step is None


@pytest.mark.parametrize(
    ("finish_at", "last", "step"),
    [((1, 1), (1, 1), 1), ((1, 3), (1, 3), 3), ((2, 2), (2, 2), 2), ((2, 3), (2, 3), None)],
    ids=["in the first stage", "between the stages", "in the last stage", "after the last step"],
)
def test_a_job_of_several_stages_ends_early_in_the_stage_that_it_is_in(
    engine: Engine, finish_at: tuple[int, int], last: tuple[int, int], step: int | None
) -> None:
    stages = Stage("base", "text_to_image"), Stage("second", "text_to_image")
    output, events = run_stages(engine, *stages, finish_at=finish_at)
    assert (events[-1].stage, events[-1].step) == last
    assert output.unfinished_at_step == step
    assert output.images[0].size == (64, 64)
