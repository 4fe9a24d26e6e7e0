"""Tasks that take turns in one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from imagegen.engine.run_loop import Reply, RunLoop, Task, complete_future, request, run_in_thread, wait_for

PendingRequests = Sequence[tuple[Task[None], Any]]
AnyReply = Reply[None, Any]
AnyRunLoop = RunLoop[None, Any, Any]


def start_task(loop: AnyRunLoop, run: Any) -> Future[Any]:
    future: Future[Any] = Future()
    loop.post(lambda: loop.start(lambda: complete_future(future, run), None))
    return future


def reply_doubled(requests: PendingRequests) -> Iterator[AnyReply]:
    yield from (Reply(task, value * 2) for task, value in requests)


def test_each_gets_its_own_answers_and_all_run_in_one_thread() -> None:
    loop, threads = RunLoop(reply_doubled), set[int]()

    def run(number: int) -> int:
        for _ in range(number):
            number = request(number)
            threads.add(threading.get_ident())
        return number

    assert [future.result() for future in [start_task(loop, lambda n=n: run(n)) for n in range(1, 5)]] == [2, 8, 24, 64]
    assert len(threads) == 1


def test_concurrent_requests_are_handled_together() -> None:
    sizes: list[int] = []

    def reply_and_count(requests: PendingRequests) -> Iterator[AnyReply]:
        sizes.append(len(requests))
        yield from reply_doubled(requests)

    loop, release = RunLoop(reply_and_count), threading.Event()
    loop.post(lambda: (release.wait(), None)[1])
    futures = [start_task(loop, lambda: request(request(1))) for _ in range(3)]
    release.set()
    assert [future.result() for future in futures] == [4, 4, 4]
    assert sizes == [3, 3]


def test_a_task_that_waits_for_a_thread_does_not_block_others() -> None:
    loop, release = RunLoop(reply_doubled), threading.Event()
    slow = start_task(loop, lambda: wait_for(run_in_thread(lambda: release.wait(20) and "slow")))
    assert start_task(loop, lambda: request(1)).result(timeout=20) == 2
    assert not slow.done()
    release.set()
    assert slow.result(timeout=20) == "slow"


def test_an_error_is_raised_only_in_the_task_that_made_the_request() -> None:
    def reply_or_fail(requests: PendingRequests) -> Iterator[AnyReply]:
        for task, value in requests:
            yield Reply(task, error=ValueError(value)) if value == "bad" else Reply(task, "fine")

    loop = RunLoop(reply_or_fail)
    good, bad = start_task(loop, lambda: request("good")), start_task(loop, lambda: request("bad"))
    assert good.result() == "fine"
    with pytest.raises(ValueError, match="bad"):
        bad.result()


def test_who_gets_no_answer_gets_the_reason_and_the_next_go_on() -> None:
    def reply_to_first(requests: PendingRequests) -> Iterator[AnyReply]:
        yield Reply(requests[0][0], "first")
        if len(requests) > 1 or requests[0][1] == "alone":
            raise RuntimeError("lost")

    loop, release = RunLoop(reply_to_first), threading.Event()
    loop.post(lambda: (release.wait(), None)[1])
    first, second = start_task(loop, lambda: request("a")), start_task(loop, lambda: request("b"))
    release.set()
    assert first.result() == "first"
    with pytest.raises(RuntimeError, match="lost"):
        second.result()
    assert start_task(loop, lambda: request("c")).result() == "first"


def test_a_request_without_a_reply_is_made_again_before_new_ones() -> None:
    seen: list[list[object]] = []

    def reply_to_urgent(requests: PendingRequests) -> Iterator[AnyReply]:
        seen.append([value for _, value in requests])
        urgent = [each for each in requests if each[1] == "urgent"] or requests
        yield from (Reply(task, value) for task, value in urgent)

    loop, release = RunLoop(reply_to_urgent), threading.Event()
    loop.post(lambda: (release.wait(), None)[1])
    patient = start_task(loop, lambda: request("patient"))
    urgent = start_task(loop, lambda: (request("urgent"), request("next"))[1])
    release.set()
    assert (patient.result(), urgent.result()) == ("patient", "next")
    assert seen == [["patient", "urgent"], ["patient", "next"]]


def test_no_task_waits_forever_for_a_handler_that_never_replies() -> None:
    loop: RunLoop[None, object, object] = RunLoop(lambda requests: ())
    with pytest.raises(RuntimeError, match="no request"):
        start_task(loop, lambda: request(1)).result()
