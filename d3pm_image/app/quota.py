"""Limits of uploads to the page: per file, per session and hour, and for all sessions together."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from .files import KEPT_S

MIB = 1 << 20


class Refused(Exception):
    """A refused request, with its status and the sentence for the user."""

    def __init__(self, status: int, words: str):
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of the page.

    Args:
        file: Bytes of a file.
        session, total: Bytes that one session, and all together, may upload within an hour, which is how long
            files are kept.
        least: Bytes that a file counts for at least, so that their number is bounded too.
        json: Bytes of any other request.
        uploads, requests: How many at once; more uploads wait.
        sessions: How many are known at a time; the oldest are forgotten.
        patience_s: Seconds without a byte after which a request is given up.
    """

    file: int = 100 * MIB
    session: int = 300 * MIB
    total: int = 1024 * MIB
    least: int = 64 << 10
    json: int = 256 << 10
    uploads: int = 4
    requests: int = 600
    sessions: int = 1000
    patience_s: float = 30.0


@dataclass
class Upload:
    """A request that uploads files: its announced size and the bytes so far."""

    session: str
    since: float
    promised: int
    came: int = 0
    files: int = 0
    ended: bool = False
    checked: int = 0

    def size(self, least: int) -> int:
        """Bytes that it counts for."""
        return max(self.came if self.ended else max(self.promised, self.came), least * max(1, self.files))


class Quota:
    """The uploads of the last hour, including unfinished ones."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic):
        self.limits, self.clock = limits, clock
        self.uploads: list[Upload] = []
        self.sessions: OrderedDict[str, None] = OrderedDict()

    def new_session(self) -> str:
        """A name that cannot be guessed."""
        name = secrets.token_urlsafe(16)
        self.sessions[name] = None
        while len(self.sessions) > self.limits.sessions:
            self.sessions.popitem(last=False)
        return name

    def known(self, name: str) -> str | None:
        """A session's name if this page gave it out."""
        if name not in self.sessions:
            return None
        self.sessions.move_to_end(name)
        return name

    def begin(self, session: str, size: int) -> Upload:
        """Free space for a request of a size (0: it does not say). Raises Refused."""
        old = self.clock() - KEPT_S
        self.uploads = [upload for upload in self.uploads if upload.since > old or not upload.ended]
        upload = Upload(session, self.clock(), size)
        self.check(upload, [*self.uploads, upload])
        upload.checked = upload.size(self.limits.least)
        self.uploads.append(upload)
        return upload

    def received(self, upload: Upload, part: bytes) -> None:
        """Count received bytes. Raises Refused."""
        upload.came += len(part)
        upload.files += part.lower().count(b"filename=")
        size = upload.size(self.limits.least)
        if size > upload.checked:  # more than was promised; checked in steps, since all uploads are added up
            self.check(upload, self.uploads)
            upload.checked = size + MIB

    def end(self, upload: Upload) -> None:
        """Nothing more comes."""
        upload.ended = True

    def check(self, upload: Upload, uploads: list[Upload]) -> None:
        """Raises Refused if an upload does not fit among all."""
        limits = self.limits
        if upload.size(0) > limits.file + MIB:  # some more for the request around the file
            raise Refused(
                413,
                f"The file is larger than {limits.file // MIB} MB. Make it smaller, or use the command line.",
            )
        sizes = [(other.session == upload.session, other.size(limits.least)) for other in uploads]
        if sum(size for own, size in sizes if own) > limits.session:
            raise Refused(
                413,
                f"You have uploaded {limits.session // MIB} MB within an hour, the most that is kept for"
                " one. Try later.",
            )
        if sum(size for _, size in sizes) > limits.total:
            raise Refused(
                413,
                f"The page keeps {limits.total // MIB} MB of images of all its users for an hour, and is"
                " full. Try later.",
            )
