"""The page as a process of its own, asked over the loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import ClassVar

from helpers.paths import ROOT

START_S = 120
API = "/gradio_api"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n{ } loop\n%%EOF\n"


class Served:
    """A page in a process of its own; ``temporary`` is where it makes its folder."""

    started: ClassVar[list[Served]] = []

    def __init__(self, temporary: Path, extra: dict[str, str] | None = None, wait: bool = True):
        self.temporary = temporary
        temporary.mkdir(exist_ok=True)
        environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", **(extra or {})}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
        if os.environ.get("D3PM_IMAGE_ATTACKED"):  # another version of the package, to see the tests fail
            environment["PYTHONPATH"] = os.environ["D3PM_IMAGE_ATTACKED"]
        with (
            socket.socket() as probe
        ):  # gradio chooses among a hundred ports otherwise, and pages that start at once choose the same
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = temporary.with_suffix(f".{self.port}.log")
        words = [sys.executable, "-m", "d3pm_image", "app", "--port", str(self.port)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                words, stdout=log, stderr=log, env=environment, cwd=temporary, start_new_session=True
            )
        self.started.append(self)
        if wait:
            self.ready()

    def ready(self) -> Served:
        end = time.monotonic() + START_S
        while "The page is at" not in self.said():
            assert self.process.poll() is None and time.monotonic() < end, self.said()
            time.sleep(0.1)
        return self

    def said(self) -> str:
        return self.log.read_text()

    def folders(self) -> list[Path]:
        return sorted(self.temporary.glob("d3pm-image-app-*"))

    def files(self) -> Path:
        (place,) = self.folders()
        return place / "files" if (place / "files").is_dir() else place

    def ask(
        self,
        method: str,
        path: str,
        headers: dict | None = None,
        body: bytes | None = None,
        host: str | None = "own",
    ):
        """Status, body and headers of one answer; ``host`` None sends none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if host is not None:
                connection.putheader("Host", f"127.0.0.1:{self.port}" if host == "own" else host)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            # an event stream has no end: its status and its first bytes do
            read = answer.read1 if "event-stream" in answer.getheader("content-type", "") else answer.read
            return answer.status, read(), dict(answer.getheaders())

    def post(self, path: str, value: object, headers: dict | None = None):
        return self.ask(
            "POST", path, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode()
        )

    def upload(self, content: bytes, name: str = "own.png", headers: dict | None = None):
        head = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        return self.ask(
            "POST", API + "/upload", kind | (headers or {}), head.encode() + content + b"\r\n--b--\r\n"
        )

    def handed_in(self, content: bytes, name: str = "own.png") -> dict:
        status, body, _ = self.upload(content, name)
        assert status == 200, body
        return {"path": json.loads(body)[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def config(self) -> dict:
        return json.loads(self.ask("GET", "/config")[1])

    def click(self, name: str, changes: dict | None = None, session: str = "clicks") -> dict:
        """Press a button; what the page answers at the end. ``changes``: labels → values, of the fields that are not left as they are."""
        config = self.config()
        (event, *_) = [event for event in config["dependencies"] if event["api_name"] == name]
        fields = {field["id"]: field["props"] for field in config["components"]}
        unknown = set(changes or {}) - {fields[number].get("label") for number in event["inputs"]}
        assert not unknown, unknown
        data = [
            (changes or {}).get(fields[number].get("label"), fields[number].get("value"))
            for number in event["inputs"]
        ]
        status, body, _ = self.post(
            API + "/queue/join", {"data": data, "fn_index": event["id"], "session_hash": session}
        )
        assert status == 200, body
        return self.answers(session)[-1]["output"]

    def answers(self, session: str) -> list[dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", f"{API}/queue/data?session_hash={session}")
            lines = connection.getresponse().read().splitlines()
        told = [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]
        return [message for message in told if message["msg"] == "process_completed"]

    def megabytes(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def end(self, number: int) -> str:
        """What it said, once it has ended after a signal."""
        self.process.send_signal(number)
        self.process.wait(30)
        return self.said()


def png(width: int, height: int, mode: int = 0) -> bytes:
    """A whole black PNG, small however many pixels it has."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    rows = zlib.compressobj(9)
    pixels = b"".join(rows.compress(bytes(width + 1)) for _ in range(height)) + rows.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, mode, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
