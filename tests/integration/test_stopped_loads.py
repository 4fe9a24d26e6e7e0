"""The loading of a model is stopped: nobody waits for its end, and its memory is free afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest

from imagegen.engine.engine import Engine, EngineEvent, EngineResult, JobInterrupted
from imagegen.schema.events import Cancelled, Loading
from imagegen.schema.models import ModelSource
from tests.integration.engine_harness import EngineHarness, new_control
from tests.integration.test_model_store import measure_tensors
from tests.slow_model import SlowModel

SECONDS = 60


@pytest.fixture
def source(harness: EngineHarness, tmp_path: Path) -> ModelSource:
    """A model of its own folder."""
    original = harness.model("tiny-sd15")[1]
    return original.model_copy(update={"id": "slow", "path": shutil.copytree(original.path, tmp_path / "slow")})


@pytest.fixture
def slow(source: ModelSource) -> SlowModel:
    return SlowModel(source.path)


@pytest.fixture
def engine() -> Engine:
    return Engine("cpu")


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_a_job_ends_at_once_while_its_model_is_read(
    harness: EngineHarness, engine: Engine, source: ModelSource, slow: SlowModel
) -> None:
    inputs = harness.make_inputs("tiny-sd15")
    control, events = new_control(), Queue[EngineEvent]()
    job = engine.submit(replace(inputs, model=source), control, events.put)
    assert isinstance(events.get(timeout=SECONDS), Loading)
    slow.wait_until_it_is_read()
    engine.cancel(control)
    assert isinstance(events.get(timeout=SECONDS), Cancelled)
    assert not job.done()
    slow.let_go()
    job.result(SECONDS)
    assert events.empty()
    assert engine.store.models == {}
    assert engine.store.measure_usage() == {"cpu": 0}


def test_a_job_that_was_cancelled_says_nothing_of_a_model_that_cannot_be_read(
    harness: EngineHarness, engine: Engine, source: ModelSource, slow: SlowModel
) -> None:
    control, events = new_control(), Queue[EngineEvent]()
    inputs = harness.make_inputs("tiny-sd15")
    job = engine.submit(replace(inputs, model=source), control, events.put)
    slow.wait_until_it_is_read()
    engine.cancel(control)
    assert isinstance(events.get(timeout=SECONDS), Loading)
    assert isinstance(events.get(timeout=SECONDS), Cancelled)
    slow.content = b"this is not a configuration"
    slow.let_go()
    job.result(SECONDS)
    assert events.empty()


def warm_and_cancel(thread: ThreadPoolExecutor, engine: Engine, source: ModelSource, slow: SlowModel) -> Future[None]:
    """Starts to load a model, and cancels that while its files are read. Returns the load."""
    control = new_control()
    loading = thread.submit(engine.warm, source, control)
    slow.wait_until_it_is_read()
    engine.cancel(control)
    return loading


def test_a_model_that_is_not_wanted_any_more_leaves_no_memory(
    engine: Engine, source: ModelSource, slow: SlowModel, thread: ThreadPoolExecutor
) -> None:
    before = measure_tensors()
    loading = warm_and_cancel(thread, engine, source, slow)
    slow.let_go()
    with pytest.raises(JobInterrupted):
        loading.result(SECONDS)
    assert engine.store.models == {}
    del loading
    assert measure_tensors() == before


def test_a_job_gets_the_model_whose_loading_was_stopped(
    harness: EngineHarness, engine: Engine, source: ModelSource, slow: SlowModel, thread: ThreadPoolExecutor
) -> None:
    """It joins the read that goes on."""
    loading = warm_and_cancel(thread, engine, source, slow)
    inputs, events = harness.make_inputs("tiny-sd15"), Queue[EngineEvent]()
    job = engine.submit(replace(inputs, model=source), new_control(), events.put)
    assert isinstance(events.get(timeout=SECONDS), Loading)
    slow.let_go()
    job.result(SECONDS)
    assert isinstance(list(events.queue)[-1], EngineResult)
    with pytest.raises(JobInterrupted):
        loading.result(SECONDS)


def test_a_model_that_waits_for_another_read_is_never_read(
    harness: EngineHarness, engine: Engine, source: ModelSource, slow: SlowModel, thread: ThreadPoolExecutor
) -> None:
    """Models are read one at a time."""
    control, events = new_control(), Queue[EngineEvent]()
    first = thread.submit(engine.warm, source)
    slow.wait_until_it_is_read()
    second = engine.submit(harness.make_inputs("tiny-sd15"), control, events.put)
    assert isinstance(events.get(timeout=SECONDS), Loading)
    engine.cancel(control)
    assert isinstance(events.get(timeout=SECONDS), Cancelled)
    slow.let_go()
    first.result(SECONDS)
    second.result(SECONDS)
    assert list(engine.store.models) == ["slow"]
