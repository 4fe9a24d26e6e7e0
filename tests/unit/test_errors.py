"""Every error has a code and an HTTP status, and a message for people."""

from __future__ import annotations

import logging

import pytest

from imagegen.errors import (
    ImageGenError,
    InvalidRequest,
    JobFailed,
    NotFound,
    QueueFull,
    RemoteError,
    TooManyRequests,
    UnexpectedError,
    UnknownJob,
    attribute_errors_to,
    map_exception,
)


def list_error_classes(base: type[ImageGenError] = ImageGenError) -> list[type[ImageGenError]]:
    return [each for subclass in base.__subclasses__() for each in (subclass, *list_error_classes(subclass))]


def test_an_error_class_without_a_status_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match="Odd needs a code and an HTTP status"):
        type("Odd", (ImageGenError,), {"code": "odd"})


def test_an_error_class_without_a_code_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match="Odd needs a code and an HTTP status"):
        type("Odd", (ImageGenError,), {"status": 400})


def test_a_code_has_one_status() -> None:
    with pytest.raises(TypeError, match="Odd gives the code 'not_found' a second HTTP status"):
        type("Odd", (NotFound,), {"status": 410})


def test_an_error_class_inherits_what_it_does_not_define() -> None:
    assert (UnknownJob.code, UnknownJob.status) == ("unknown_job", 404)


@pytest.mark.parametrize("error_class", list_error_classes())
def test_each_error_class_has_a_message(error_class: type[ImageGenError]) -> None:
    assert error_class.__doc__ is not None and error_class.__doc__.strip()
    assert 400 <= error_class.status < 600


@pytest.mark.parametrize(("code", "status"), [("queue_full", 503), ("unknown_model", 404), ("nan_output", 500)])
def test_an_error_of_another_process_has_the_status_of_its_class(code: str, status: int) -> None:
    error = RemoteError(code, "The message.")
    assert (error.code, error.status, str(error)) == (code, status, "The message.")


def test_an_error_with_an_unknown_code_is_the_studios_own() -> None:
    assert RemoteError("from_a_newer_version", "The message.").status == 500


def test_a_remote_error_leaves_its_class_unchanged() -> None:
    RemoteError("queue_full", "The message.")
    assert (RemoteError.code, RemoteError.status) == (JobFailed.code, JobFailed.status)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (TooManyRequests(most=60, retry_after=2), "You sent more than 60 requests in a minute. Please try again in 2"),
        (QueueFull(waiting=64, retry_after=9), "The queue is full: 64 jobs are waiting. Please try again in 9 seconds"),
    ],
)
def test_messages_contain_the_data_of_the_error(error: ImageGenError, message: str) -> None:
    assert str(error).startswith(message)


def test_the_studios_own_errors_are_passed_on_unchanged() -> None:
    error = NotFound()
    assert map_exception(error) is error


def test_other_errors_are_logged_and_their_details_hidden(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        error = map_exception(KeyError("secret"))
    assert isinstance(error, UnexpectedError) and "secret" not in str(error)
    assert caplog.records[0].exc_info is not None and "secret" in repr(caplog.records[0].exc_info[1])


def test_an_error_is_attributed_to_another_field() -> None:
    with pytest.raises(InvalidRequest, match=r"^size: must be even$") as refused, attribute_errors_to("size"):
        raise InvalidRequest("width", "must be even")
    assert refused.value.field == "size"
