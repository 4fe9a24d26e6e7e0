"""The gate before all doors. It stands outermost, and lets through whoever may come in, as a user.

1. `Front` checks host, size and origin, and takes away what a client may not claim.
2. `Callers` tell who sent the request.
3. What needs a user and has none is refused, in the form of the door that was asked; a browser is led to sign in.
4. `GradioGate` checks whose the session or the file is that was asked for.
5. Our own routes go to our API, all others to Gradio.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegen.api.callers import Callers, Everybody, meant_token, same
from imagegen.api.errors import known, response
from imagegen.api.front import MAX_BODY, Front, limited
from imagegen.api.gradio_gate import GradioGate, is_public
from imagegen.errors import ImageGenError, SignInRequired, UnknownRoute
from imagegen.schema import User

OURS = ("v1", "sdapi", "docs", "openapi.json", "docs-assets", "login", "logout", "healthz", "readyz")
OPEN_TO_ALL = ("docs", "openapi.json", "docs-assets", "healthz", "readyz")
SIGN_IN = ("login", "logout")
SOCKET = "/v1/ws"
# How the studio's own client, which MCP's tools go through, shows that it is the studio's own.
INSIDE = "x-studio-inside"
# And in whose name it asks, if in anybody's.
IN_NAME_OF = "x-studio-in-name-of"
NOBODY = User(id="inside")


class Gate:
    """`embedded` is whether pages of Hugging Face may show the studio inside."""

    def __init__(
        self, page: ASGIApp, api: ASGIApp, front: Front, callers: Callers, gradio: GradioGate, inside: str, tokens: str,
        embedded: bool,
    ) -> None:  # fmt: skip
        self.page, self.api = page, api
        self.front, self.callers, self.gradio = front, callers, gradio
        self.inside, self.tokens = inside, tokens
        parents = " https://huggingface.co" if embedded else ""
        self.headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Content-Security-Policy": f"frame-ancestors 'self'{parents}",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.page(scope, receive, send)
            return
        send = self.with_headers(send)
        try:
            scope = self.front.checked(scope)
            is_ours = first(scope["path"]) in OURS
            receive = limited(receive, MAX_BODY)
            user = await self.user(scope)
            scope["state"] = {**scope.get("state", {}), "user": user}
            if not is_ours:
                receive, send = await self.at_gradio(scope, receive, send, user)
        except Exception as error:
            await self.refuse(known(error), scope, receive, send)
            return
        if is_ours:
            await self.api({**scope, "root_path": self.front.prefix}, receive, send)
        else:
            await self.page(scope, receive, send)

    async def user(self, scope: Scope) -> User | None:
        """Whoever asks; None where nobody has to sign in and nobody did.

        Raises CrossSite, SignInRequired, and what `Callers` raise.
        """
        connection, path = HTTPConnection(scope), scope["path"]
        by_token = not isinstance(self.callers, Everybody) and meant_token(connection)
        if not by_token:
            self.front.check_origin(scope)
        if first(path) in OPEN_TO_ALL or is_public(path):
            return None
        if self.is_inside(connection):
            return inside_user(connection)
        user = await self.callers.caller(connection)
        if user is None and first(path) not in SIGN_IN and path != SOCKET:
            raise SignInRequired(what=self.tokens)
        return user

    async def at_gradio(self, scope: Scope, receive: Receive, send: Send, user: User | None) -> tuple[Receive, Send]:
        # Gradio would let pages of any site ask for anything. Those that may have been answered for already.
        del MutableHeaders(scope=scope)["origin"]
        if scope["type"] == "websocket":
            raise UnknownRoute
        if user is None:
            return receive, send
        inside = self.is_inside(HTTPConnection(scope))
        return await self.gradio.checked(scope, receive, send, user, shares_session=inside)

    def is_inside(self, connection: HTTPConnection) -> bool:
        return same(self.inside, connection.headers.get(INSIDE, ""))

    async def refuse(self, error: ImageGenError, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await refuse_socket(receive, send, error)
            return
        answer: Response = response(error, scope["path"])
        accepts = Headers(scope=scope).get("accept", "")
        if isinstance(error, SignInRequired) and scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
            answer = RedirectResponse("login", 303) if "text/html" in accepts or "*/*" in accepts else answer
        await answer(scope, receive, send)

    def with_headers(self, send: Send) -> Send:
        async def added(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        return added


def inside_user(connection: HTTPConnection) -> User:
    user = connection.headers.get(IN_NAME_OF)
    return User.model_validate_json(user) if user is not None else NOBODY


def first(path: str) -> str:
    return path.strip("/").split("/")[0]


async def refuse_socket(receive: Receive, send: Send, error: ImageGenError) -> None:
    """Before it is accepted: the client sees HTTP's 403."""
    await receive()
    await send({"type": "websocket.close", "code": 4401 if isinstance(error, SignInRequired) else 4403})
