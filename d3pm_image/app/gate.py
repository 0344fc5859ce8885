"""Checks of requests before gradio gets them.

A site in the user's browser can send requests to 127.0.0.1, and a name of its own may point there (DNS
rebinding). So a request is answered only if it names this page in ``Host``, does not come from another site's
page, asks for a route that the page uses, and stays within the limits of size. gradio's own checks come after
these.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..printable import printable
from .quota import Limits, Quota, Refused, Upload

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = dict[str, str]

HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?)(?::(\d{1,5}))?")
SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)
API = "/gradio_api"
DATA = ("info", "startup-events", "app_id", "theme.css", "queue/data", "queue/status", "upload_progress")
READ = {"/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"}
READ |= {f"{API}/{route}" for route in DATA}
READ_BELOW = ("/assets/", "/static/", "/svelte/", API + "/heartbeat/", API + "/file=")
WRITE = {API + route for route in ("/queue/join", "/run/predict", "/cancel", "/reset")}
UPLOAD = API + "/upload"
BELIEVED = (b"x-forwarded-", b"x-gradio-server", b"forwarded")
"""Headers that gradio builds addresses from; there is no trusted proxy in front of the page."""
SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
]
COOKIE = "d3pm_image_session"


def split_host(text: str) -> tuple[str, int | None] | None:
    """Name (lower case, without brackets and a final dot) and port of a ``Host`` header; None if it is not
    valid."""
    match = HOST.fullmatch(text.lower())
    if match is None:
        return None
    return match[1].strip("[]").removesuffix("."), int(match[2]) if match[2] else None


def address_of(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A name that is a numeric address."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


class Hosts:
    """Names under which the page may be asked for.

    Loopback names and the address that it listens at. Of a page that listens at every address: all numeric
    ones, which DNS rebinding cannot use, and the machine's own name.
    """

    def __init__(self, host: str):
        asked = host.lower().strip("[]").removesuffix(".")
        address = address_of(asked)
        self.every = address is not None and address.is_unspecified
        self.names = {"localhost", asked}
        if self.every:
            own = socket.gethostname().lower()
            self.names |= {own, f"{own}.local"}

    def __contains__(self, text: str) -> bool:
        parts = split_host(text)
        if parts is None:
            return False
        address = address_of(parts[0])
        return parts[0] in self.names or (address is not None and (self.every or address.is_loopback))


def is_foreign(headers: Headers) -> bool:
    """Whether a page of another origin, another port of this machine included, made the request.

    Programs send neither header; all browsers of today send at least one with whatever changes something.
    """
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    return "origin" in headers and not same_origin(headers["origin"], headers["host"])


def same_origin(origin: str, host: str) -> bool:
    """Whether an ``Origin`` header is that of the page that ``Host`` names."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    usual, asked, own = (
        {"http": 80, "https": 443}.get(parts.scheme),
        split_host(parts.netloc),
        split_host(host),
    )
    if usual is None or asked is None or own is None or parts.path or parts.query or parts.fragment:
        return False
    return asked[0] == own[0] and (port or usual) == (own[1] or usual)


def is_visit(method: str, path: str, headers: Headers) -> bool:
    """Whether a link of another site to the page was followed, in a tab of its own."""
    to_page = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return method in ("GET", "HEAD") and path == "/" and to_page and "origin" not in headers


class Gate:
    """An ASGI application around the page's.

    Args:
        app: What is behind.
        host: Address that the page listens at.
        folder: The only folder that files are served from.
        limits: Limits of sizes and numbers.
        joined: Called with the session of every request before it is queued.
        streams: How many event streams each session has open; kept by this class.
    """

    def __init__(
        self,
        app: Any,
        host: str,
        folder: Path,
        limits: Limits,
        joined: Callable[[str], None],
        streams: dict[str, int],
    ):
        self.app, self.hosts, self.folder, self.limits = (
            app,
            Hosts(host),
            Path(os.path.realpath(folder)),
            limits,
        )
        self.joined, self.streams, self.quota = joined, streams, Quota(limits)
        self.open, self.places = 0, asyncio.Semaphore(limits.uploads)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        reply, self.open = Reply(send), self.open + 1
        incoming = Incoming(receive)
        try:
            headers = self.checked(scope)
            await self.passed(scope, headers, incoming, reply)
        except Refused as error:
            await incoming.drain(self.limits.file)
            await reply.words(error.status, str(error), plain=scope["path"] == UPLOAD)
        except (
            Exception
        ) as error:  # a client that left, or a fault in gradio: one line, and no traceback to anybody
            if type(error).__name__ != "ClientDisconnect" and not reply.began:
                line = f"d3pm-image app: {printable(scope['path'], 80)} failed ({type(error).__name__})"
                print(line, file=sys.stderr, flush=True)
        finally:
            self.open -= 1
        if not reply.began:
            await reply.words(500, "The page could not answer this request. Load it again.")

    def checked(self, scope: Message) -> Headers:
        """The headers of a request that may come in. Raises Refused."""
        pairs = [
            (name.lower().decode("latin-1"), value.decode("latin-1").strip())
            for name, value in scope["headers"]
        ]
        headers = dict(pairs)
        single = [name for name, _ in pairs if name in ("host", "origin", "sec-fetch-site", "content-length")]
        method, path = scope["method"], scope["path"]
        if len(single) != len(set(single)) or headers.get("host", "") not in self.hosts:
            raise Refused(
                400, "This page does not answer to that host name. Open the address that d3pm-image printed."
            )
        if is_foreign(headers) and not is_visit(method, path, headers):
            raise Refused(403, "This request came from another site; only the page itself may make it.")
        reading = method in ("GET", "HEAD") and (path in READ or path.startswith(READ_BELOW))
        if not reading and not (method == "POST" and (path in WRITE or path == UPLOAD)):
            raise Refused(404, "There is nothing at this address.")
        if self.open > self.limits.requests:
            raise Refused(503, "Too many people are here at once. Try again in a minute.")
        scope["headers"] = [
            (name, value) for name, value in scope["headers"] if not name.lower().startswith(BELIEVED)
        ]
        return headers

    async def passed(self, scope: Message, headers: Headers, receive: Receive, reply: Reply) -> None:
        """Hand a request on, within its limits. Raises Refused."""
        path, session = scope["path"], cookie_of(headers)
        if path == UPLOAD:
            await self.upload(
                scope,
                headers,
                receive,
                reply,
                self.quota.known(session) or str((scope.get("client") or ["?"])[0]),
            )
        elif path in WRITE:
            body, asked = await self.body(headers, receive)
            if path.endswith("/queue/join"):
                self.joined(asked)
            await self.app(scope, replayed(body, receive), reply)
        elif path.startswith(API + "/file="):
            self.check_file(path.removeprefix(API + "/file="))
            await self.app(scope, receive, reply)
        elif path == API + "/queue/data":
            await self.stream(scope, receive, reply)
        elif path.startswith(API + "/heartbeat/") and not SESSION.fullmatch(
            path.removeprefix(API + "/heartbeat/")
        ):
            raise Refused(400, "The request names no session.")
        else:
            if path == "/" and self.quota.known(session) is None:
                value = f"{COOKIE}={self.quota.new_session()}; Path=/; HttpOnly; SameSite=Strict"
                reply.extra.append((b"set-cookie", value.encode()))
            await self.app(scope, receive, reply)

    async def stream(self, scope: Message, receive: Receive, reply: Reply) -> None:
        """The events of one session."""
        match = re.search(
            r"(?:^|&)session_hash=([\w-]{1,64})(?:&|$)", scope["query_string"].decode("latin-1"), re.ASCII
        )
        if match is None:
            raise Refused(400, "The request names no session.")
        name = match[1]
        self.streams[name] = self.streams.get(name, 0) + 1
        try:
            await self.app(scope, receive, reply)
        finally:
            self.streams[name] -= 1
            if not self.streams[name]:
                del self.streams[name]

    def check_file(self, text: str) -> None:
        """Check that a path, with links followed, is a file of the page's own folder, and not an address of
        the web. Raises Refused."""
        try:
            inside = Path(os.path.realpath(text)).is_relative_to(self.folder) and os.path.isfile(text)
        except (OSError, ValueError):
            inside = False
        if not inside or "://" in text:
            raise Refused(404, "There is no such file here; images are kept for an hour.")

    async def body(self, headers: Headers, receive: Receive) -> tuple[bytes, str]:
        """A small body of JSON, and the session that it names. Raises Refused."""
        body, more = b"", True
        while more:
            message = await self.next_part(receive)
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if max(len(body), declared(headers)) > self.limits.json:
                raise Refused(413, "The request is larger than any that this page makes.")
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            values = None
        session = str(values.get("session_hash") or "none") if isinstance(values, dict) else ""
        if not SESSION.fullmatch(session):
            raise Refused(400, "The request is not of this page.")
        return body, session

    async def next_part(self, receive: Receive) -> Message:
        """The next part of a body. Raises Refused if none comes."""
        try:
            message = await asyncio.wait_for(receive(), self.limits.patience_s)
        except TimeoutError:
            raise Refused(408, "Nothing more came in; try again.") from None
        if message["type"] == "http.disconnect":
            raise Refused(400, "The connection was closed.")
        return message

    async def upload(
        self, scope: Message, headers: Headers, receive: Receive, reply: Reply, session: str
    ) -> None:
        """An uploaded file, counted while it comes; it waits while there are too many uploads. Raises
        Refused."""
        try:
            await asyncio.wait_for(self.places.acquire(), self.limits.patience_s)
        except TimeoutError:
            raise Refused(503, "Many files are being handed in right now. Try again in a minute.") from None
        try:
            await self.counted(scope, headers, receive, reply, session)
        finally:
            self.places.release()

    async def counted(
        self, scope: Message, headers: Headers, receive: Receive, reply: Reply, session: str
    ) -> None:
        """A file, counted. Raises Refused."""
        upload: Upload = self.quota.begin(session, declared(headers))

        async def received() -> Message:
            message = await self.next_part(receive)
            self.quota.received(upload, message.get("body", b""))
            return message

        try:
            await self.app(scope, received, reply)
        finally:
            self.quota.end(upload)


class Incoming:
    """The data that a client sends, and whether all of it was read."""

    def __init__(self, receive: Receive):
        self.receive, self.ended = receive, False

    async def __call__(self) -> Message:
        """The next part."""
        message = await self.receive()
        self.ended = self.ended or not message.get("more_body", False)
        return message

    async def drain(self, most: int) -> None:
        """Read and discard the rest, because a client that is cut off while it sends never sees the
        answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                while not self.ended and most > 0:
                    most -= len((await asyncio.wait_for(self(), 1)).get("body", b""))


class Reply:
    """Passes on an application's answers with the headers of this page, except a bare 'Internal Server
    Error'."""

    def __init__(self, send: Send):
        self.send, self.began, self.dropped = send, False, False
        self.extra: list[tuple[bytes, bytes]] = []

    async def __call__(self, message: Message) -> None:
        """Send a message on."""
        if message["type"] == "http.response.start":
            kinds = [value for name, value in message.get("headers", []) if name.lower() == b"content-type"]
            self.dropped = message["status"] == 500 and not any(b"json" in kind for kind in kinds)
            if not self.dropped:
                self.began = True
                message["headers"] = [*message.get("headers", []), *SAFE, *self.extra]
        if not self.dropped:
            await self.send(message)

    async def words(self, status: int, text: str, plain: bool = False) -> None:
        """A sentence as the page's script reads it: of uploads as it is, else in JSON. Nothing where an
        answer has begun."""
        if self.began:
            return
        self.began, body = True, (text if plain else json.dumps({"detail": text, "error": text})).encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8" if plain else b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *SAFE,
        ]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def declared(headers: Headers) -> int:
    """The size that a request says it has; 0 where it says none."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def cookie_of(headers: Headers) -> str:
    """The session in a request's cookies, '' for none."""
    match = re.search(rf"(?:^|;\s*){COOKIE}=([\w-]+)", headers.get("cookie", ""), re.ASCII)
    return match[1] if match else ""


def replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, and then whatever comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
