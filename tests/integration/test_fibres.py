"""Runs that take turns in one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from imagegen.engine.fibres import Answer, Fibre, Loop, ask, elsewhere, settle, waited

Asked = Sequence[tuple[Fibre, Any]]


def begun(loop: Loop, run: Any) -> Future[Any]:
    future: Future[Any] = Future()
    loop.post(lambda: loop.start(lambda: settle(future, run)))
    return future


def doubled(asked: Asked) -> Iterator[Answer]:
    yield from (Answer(fibre, question * 2) for fibre, question in asked)


def test_each_gets_its_own_answers_and_all_run_in_one_thread() -> None:
    loop, threads = Loop(doubled), set[int]()

    def run(number: int) -> int:
        for _ in range(number):
            number = ask(number)
            threads.add(threading.get_ident())
        return number

    assert [future.result() for future in [begun(loop, lambda n=n: run(n)) for n in range(1, 5)]] == [2, 8, 24, 64]
    assert len(threads) == 1


def test_what_is_asked_at_the_same_time_is_answered_together() -> None:
    sizes: list[int] = []

    def counted(asked: Asked) -> Iterator[Answer]:
        sizes.append(len(asked))
        yield from doubled(asked)

    loop, gate = Loop(counted), threading.Event()
    loop.post(lambda: (gate.wait(), None)[1])
    futures = [begun(loop, lambda: ask(ask(1))) for _ in range(3)]
    gate.set()
    assert [future.result() for future in futures] == [4, 4, 4]
    assert sizes == [3, 3]


def test_one_that_waits_for_another_thread_holds_nobody_up() -> None:
    loop, gate = Loop(doubled), threading.Event()
    slow = begun(loop, lambda: waited(elsewhere(lambda: gate.wait(20) and "slow")))
    assert begun(loop, lambda: ask(1)).result(timeout=20) == 2
    assert not slow.done()
    gate.set()
    assert slow.result(timeout=20) == "slow"


def test_an_error_is_raised_where_it_was_asked_and_nowhere_else() -> None:
    def choosy(asked: Asked) -> Iterator[Answer]:
        for fibre, question in asked:
            yield Answer(fibre, error=ValueError(question)) if question == "bad" else Answer(fibre, "fine")

    loop = Loop(choosy)
    good, bad = begun(loop, lambda: ask("good")), begun(loop, lambda: ask("bad"))
    assert good.result() == "fine"
    with pytest.raises(ValueError, match="bad"):
        bad.result()


def test_who_gets_no_answer_gets_the_reason_and_the_next_go_on() -> None:
    def forgetful(asked: Asked) -> Iterator[Answer]:
        yield Answer(asked[0][0], "first")
        if len(asked) > 1 or asked[0][1] == "alone":
            raise RuntimeError("lost")

    loop, gate = Loop(forgetful), threading.Event()
    loop.post(lambda: (gate.wait(), None)[1])
    first, second = begun(loop, lambda: ask("a")), begun(loop, lambda: ask("b"))
    gate.set()
    assert first.result() == "first"
    with pytest.raises(RuntimeError, match="lost"):
        second.result()
    assert begun(loop, lambda: ask("c")).result() == "first"
