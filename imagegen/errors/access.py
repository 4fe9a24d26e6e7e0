"""Errors of access: who asks, from where, and what they may do."""

from __future__ import annotations

from imagegen.errors.base import ImageGenError


class AdministratorRequired(ImageGenError):
    """Only an administrator of this studio may {action}."""

    code, status = "not_allowed", 403

    def __init__(self, action: str) -> None:
        super().__init__(action=action)


class SignInRequired(ImageGenError):
    """Please sign in: send 'Authorization: Bearer' with {what}, or sign in with a browser."""

    code, status = "sign_in_required", 401

    def __init__(self, what: str) -> None:
        super().__init__(what=what)


class BadCredentials(SignInRequired):
    """The credentials are wrong or have expired. Please send {what}."""

    code = "bad_credentials"


class LoginFailed(ImageGenError):
    """{problem}"""

    code, status = "login_failed", 400

    def __init__(self, problem: str) -> None:
        super().__init__(problem=problem)


class Forbidden(ImageGenError):
    """{name} may not use this studio. Please ask its administrator for access."""

    code, status = "not_admitted", 403

    def __init__(self, name: str) -> None:
        super().__init__(name=name)


class SignInUnavailable(ImageGenError):
    """The sign-in provider cannot be reached. Please try again in {retry_after} seconds."""

    code, status = "sign_in_unavailable", 503
    retry_after: int

    def __init__(self, retry_after: int = 10) -> None:
        super().__init__(retry_after=retry_after)
        self.retry_after = retry_after


class InvalidLink(ImageGenError):
    """This link to a picture is not valid: it was changed, or is of another studio."""

    code, status = "bad_link", 403


class LinkExpired(ImageGenError):
    """This link to a picture has expired. With your sign-in, the picture is at /v1/images/{picture_id}."""

    code, status = "link_expired", 410

    def __init__(self, picture_id: str) -> None:
        super().__init__(picture_id=picture_id)


class CrossSiteRequest(ImageGenError):
    """A page of {origin} sent this request to {host}. {remedy}"""

    code, status = "cross_site", 403

    def __init__(self, origin: str, host: str, remedy: str) -> None:
        super().__init__(origin=origin, host=host, remedy=remedy)


class WrongHost(ImageGenError):
    """The studio does not serve the host name {host}. If it is a name of the studio, add it to the setting 'hosts'."""

    code, status = "wrong_host", 400

    def __init__(self, host: str) -> None:
        super().__init__(host=host)
