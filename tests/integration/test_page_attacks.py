"""Attacks on the page as it runs: a process of its own, asked over the loopback as a browser, a foreign site or a program would."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from helpers.paths import ROOT
from helpers.served_page import API, EPS, Served, png

pytest.importorskip("gradio", reason="needs the extra app")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and /proc")
FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Origin": "file://"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    yield tmp_path_factory.mktemp("pages")
    for served in Served.started:
        served.process.kill()
        served.process.wait()


@pytest.fixture(scope="module")
def page(places):
    programs = places / "programs"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {places}/ghostscript-ran\nsleep 60\n")
    (programs / "gs").chmod(0o755)
    return Served(places / "attacked", {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"})


@pytest.fixture(autouse=True)
def no_traceback(request):
    served = request.getfixturevalue("page") if "page" in request.fixturenames else None
    before = len(served.said()) if served else 0
    yield
    if served:
        assert served.process.returncode in (None, 0) and "Traceback" not in served.said()[before:], (
            served.said()[before:]
        )


def sentence(text: str) -> bool:
    """Whether words were said, and nothing of this machine or of Python."""
    return len(text.split()) > 3 and not any(bad in text for bad in ("Traceback", "/tmp", ".py", "None"))


# who may ask


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example:{port}", "127.0.0.1@evil.example", "evil.example#127.0.0.1",
     "10.0.0.7:{port}", "0.0.0.0:{port}", "2130706433", "0177.0.0.1", "[::2]:{port}", "[::1", "127.0.0.1:x", "127.0.0.1, evil.example", "", None],
)  # fmt: skip
def test_only_the_page_s_own_names_are_answered(page, host):
    for method, path in (("GET", "/"), ("GET", "/config"), ("POST", API + "/upload"), ("OPTIONS", "/")):
        status, body, headers = page.ask(method, path, host=host and host.format(port=page.port))
        assert status == 400 and b"<html" not in body and "access-control-allow-origin" not in headers, (
            host,
            method,
        )


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:{port}",
        "localhost:{port}",
        "LOCALHOST",
        "localhost.",
        "[::1]:{port}",
        "127.0.0.1:8000",
    ],
)
def test_loopback_names_are_answered_behind_any_port(page, host):
    assert (
        page.ask("GET", "/config", host=host.format(port=page.port))[0] == 200
    )  # 8000: the near end of a tunnel


def test_two_hosts_and_whole_addresses_are_refused(page):
    with socket.create_connection(("127.0.0.1", page.port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert b" 400 " in raw.makefile("rb").readline()
    for path in ("http://evil.example/", "http://evil.example/config", "//evil.example/config"):
        assert page.ask("GET", path)[0] in (400, 404), path


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_pages_of_other_origins_get_nothing_and_change_nothing(page, headers):
    asked = [("GET", route) for route in ("/config", API + "/queue/data?session_hash=a", API + "/heartbeat/a", API + "/upload_progress?upload_id=a",
             API + "/startup-events", "/theme.css")]  # fmt: skip
    asked += [
        ("POST", API + route)
        for route in ("/queue/join", "/run/predict", "/upload", "/cancel", "/reset", "/component_server")
    ]
    asked += [("OPTIONS", API + "/upload"), ("GET", "/")]
    for method, path in asked:
        more = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
        status, body, answer = page.ask(method, path, headers | more, b"{}" if method == "POST" else None)
        assert status == 403 and sentence(json.loads(body)["detail"] if b"{" in body else body.decode()), (
            method,
            path,
        )
        assert "access-control-allow-origin" not in answer
    before = set(page.files().rglob("*"))
    assert page.upload(png(3, 3), headers=headers)[0] == 403 and set(page.files().rglob("*")) == before


def test_the_page_itself_programs_and_links_are_not_foreign(page):
    for headers in (
        {},
        {"Origin": f"http://127.0.0.1:{page.port}"},
        {"Origin": f"http://127.0.0.1:{page.port}", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ):
        assert page.upload(png(2, 2), headers=headers)[0] == 200, headers
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    status, _, answer = page.ask("GET", "/", link)
    assert (
        status == 200
        and "frame-ancestors" in answer["content-security-policy"]
        and answer["x-content-type-options"] == "nosniff"
    )
    assert page.ask("GET", "/config", link)[0] == 403


def test_headers_of_proxies_are_not_believed(page):
    for name in ("X-Forwarded-Host", "X-Gradio-Server", "X-Forwarded-Server", "Forwarded"):
        assert b"evil.example" not in page.ask("GET", "/config", {name: "http://evil.example"})[1], name
    assert b"evil.example" not in page.ask("GET", "/", {"X-Forwarded-Host": "evil.example"})[1]


# what may be asked for


@pytest.mark.parametrize(
    "method, path",
    [("GET", API + "/deep_link?session_hash=a"), ("POST", API + "/process_recording"), ("POST", API + "/component_server"),
     ("GET", API + "/proxy=https://x.hf.space/"), ("POST", API + "/call/generate"), ("POST", API + "/vibe-edit"), ("GET", "/monitoring"),
     ("GET", API + "/custom_component/a/client/b/c"), ("GET", API + "/runs"), ("GET", "/openapi.json"), ("GET", "/docs"), ("POST", "/login"),
     ("PUT", "/"), ("DELETE", API + "/upload"), ("POST", API + "/stream/a"), ("TRACE", "/")],
)  # fmt: skip
def test_routes_that_the_page_does_not_use_are_shut(page, method, path):
    assert page.ask(method, path, body=b"{}" if method == "POST" else None)[0] in (404, 405)


def test_only_files_of_the_page_are_given_out(page, places):
    secret = places / "secret.txt"
    secret.write_text("a secret")
    own, link = page.handed_in(png(5, 4))["path"], page.files() / "link.txt"
    link.symlink_to(secret)
    lock = next(iter([*page.folders()[0].glob("lock"), secret]))
    assert page.ask("GET", API + "/file=" + quote(own))[:2] == (200, png(5, 4))
    above = f"{page.files()}/../../../secret.txt"
    for path in (secret, link, lock, above, "/etc/passwd", "/proc/self/environ", page.files(), "file:///etc/passwd", "http://127.0.0.1:1/a", "https://example.com/a.png", "\0", ROOT / "README.md", ".gradio/cached_examples/a"):  # fmt: skip
        for text in (quote(str(path)), quote(quote(str(path))), quote(str(path), safe="")):
            status, body, _ = page.ask("GET", API + "/file=" + text)
            assert status in (403, 404) and b"secret" not in body and b"root:" not in body, path
    link.unlink()
    for path in ("/static/../../../../../etc/passwd", "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/assets/..%2f..%2fetc%2fpasswd", "/svelte//etc/passwd", API + "/file/etc/passwd"):  # fmt: skip
        assert page.ask("GET", path)[0] in (403, 404), path
    for span in ("bytes=1-2-3", "bytes=9-1", "bytes=0-99999999999", "bytes=a-b"):
        assert page.ask("GET", API + "/file=" + quote(own), {"Range": span})[0] < 600


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../secret.txt", "http://127.0.0.1:{port}/", "https://example.com/a.png", 5, ["a"]],
)
def test_an_image_must_have_been_handed_in(page, path):
    given = {
        "path": path.format(port=page.port) if isinstance(path, str) else path,
        "meta": {"_type": "gradio.FileData"},
    }
    output = page.click("read", {"A PNG made here or on the command line": given})
    assert "uploaded" in output["error"] and sentence(output["error"])


# how much


def test_large_deep_and_wrong_bodies_are_refused(page):
    for body in (b" " * 2_000_000, b"[" * 200_000, b'{"a":' * 40_000, b"\xff", b"5", b"[]", b'{"session_hash": 5.5}', b'{"session_hash": "../a"}', b'{"data": ' + b"9" * 100_000 + b"}"):  # fmt: skip
        for route in ("/queue/join", "/run/predict", "/cancel"):
            status, answer, _ = page.ask("POST", API + route, {"Content-Type": "application/json"}, body)
            assert status in (400, 413, 422) and answer, body[:20]
    assert (
        page.ask(
            "POST", API + "/upload", {"Content-Type": "multipart/form-data; boundary=b"}, b"no such thing"
        )[0]
        == 400
    )
    assert page.ask("GET", "/?" + "a" * 100_000)[0] >= 400


def promise(page, size: int, headers: str = "") -> socket.socket:
    """Say that a file of a size comes, and send none of it."""
    raw = socket.create_connection(("127.0.0.1", page.port), 60)
    kind = "Content-Type: multipart/form-data; boundary=b\r\n"
    raw.sendall(
        f"POST {API}/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n{kind}{headers}Content-Length: {size}\r\n\r\n--b\r\n".encode()
    )
    return raw


def test_the_sum_of_uploads_of_a_session_is_bounded_before_they_are_sent(page):
    cookie = page.ask("GET", "/")[2]["set-cookie"].partition(";")[0]
    with promise(page, 102 << 20) as raw:
        assert b" 413 " in raw.makefile("rb").readline()
    with contextlib.ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(promise(page, 99 << 20, f"Cookie: {cookie}\r\n"))
        time.sleep(0.3)
        status, words, _ = page.upload(bytes(4 << 20), headers={"Cookie": cookie})
        assert status == 413 and sentence(words.decode()) and b"300 MB" in words
        assert page.upload(png(7, 7))[0] == 200  # another session goes on
    time.sleep(0.3)
    assert page.upload(png(8, 8), headers={"Cookie": cookie})[0] == 200  # what never came does not count


def test_a_file_without_a_length_is_cut_off(page):
    with socket.create_connection(("127.0.0.1", page.port), 60) as raw:
        kind = "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n"
        raw.sendall(f"POST {API}/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n{kind}\r\n".encode())
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        raw.sendall(b"%x\r\n%s\r\n" % (len(head), head))
        chunk = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
        with contextlib.suppress(ConnectionError):
            for _ in range(130):
                raw.sendall(chunk)
            raw.sendall(b"0\r\n\r\n")
        assert b" 413 " in raw.makefile("rb").readline()


@pytest.mark.slow
def test_the_sum_of_all_uploads_is_bounded(page):
    taken, cookies = 0, [page.ask("GET", "/")[2]["set-cookie"].partition(";")[0] for _ in range(4)]
    while taken < 14:
        status, words, _ = page.upload(bytes([taken]) * (90 << 20), headers={"Cookie": cookies[taken % 4]})
        if status != 200:
            break
        taken += 1
    assert status == 413 and b"all its users" in words and taken <= 11
    assert sum(path.stat().st_size for path in page.files().rglob("*") if path.is_file()) < 1300 << 20


@pytest.mark.slow
def test_the_memory_of_sessions_is_bounded(page):
    (event, *_) = [event for event in page.config()["dependencies"] if event["api_name"] == "wait"]

    def visit(number: int) -> None:
        name = f"visitor{number}"
        page.post(API + "/queue/join", {"data": [], "fn_index": event["id"], "session_hash": name})
        assert page.answers(name)[0]["success"]

    for number in range(40):
        visit(number)
    before = page.megabytes()
    for number in range(40, 240):
        visit(number)
    assert page.megabytes() - before < 20  # they were 60


def test_many_requests_at_once_are_all_answered(page):
    def one(number: int) -> int:
        return page.ask("GET", ("/", "/config", "/theme.css", API + "/file=/etc/passwd")[number % 4])[0]

    with ThreadPoolExecutor(32) as threads:
        assert set(threads.map(one, range(100))) <= {200, 404}


# images and fields


def test_an_eps_named_png_is_refused_in_words_and_starts_nothing(page, places):
    given = page.handed_in(EPS, "photo.png")
    image = "Your image: drop it here"
    for name, changes in (("check", {image: given}), ("load", {image: given}), ("tokens", {image: given}), ("vary", {image: given}), ("outpaint", {image: given}), ("read", {"A PNG made here or on the command line": given})):  # fmt: skip
        output = page.click(name, changes)
        assert "photo.png" in output["error"] and sentence(output["error"]), name
    layer = {"background": None, "layers": [given], "composite": None}
    output = page.click(
        "inpaint", {image: page.handed_in(png(9, 9)), "Paint over what should be redrawn": layer}
    )
    assert sentence(output["error"])
    assert not (places / "ghostscript-ran").exists()


def test_a_painting_is_a_small_png(page):
    own = page.handed_in(png(9, 9))
    wide, other = page.handed_in(png(20_000, 200)), page.handed_in(b"GIF89a" + bytes(50), "a.png")
    for layers in ([wide], [other], [own] * 500):
        painting = {"background": None, "layers": layers, "composite": None}
        output = page.click(
            "inpaint", {"Your image: drop it here": own, "Paint over what should be redrawn": painting}
        )
        assert sentence(output["error"]) and "ainting" in output["error"]


def test_outpainting_has_the_command_s_limits(page):
    own = {"Your image: drop it here": page.handed_in(png(9, 9)), "Steps": 1, "Images": 1}
    for sides in (
        {"Left": 10_001},
        {"Left": 10**9},
        {"Left": 10_000, "Right": 10_000, "Top": 9_000},
        {"Left": -1},
        {"Left": 0, "Right": 0},
    ):
        began = time.monotonic()
        output = page.click("outpaint", own | sides)
        assert sentence(output["error"]) and time.monotonic() - began < 10, sides
    output = page.click("outpaint", own | {"Left": 9_000, "Right": 9_000, "Top": 3_000, "Images": 64})
    assert "fewer" in output["error"]


def test_an_image_of_too_many_pixels_is_refused(page):
    bomb = page.handed_in(png(30_000, 6_500))
    for name in ("check", "load", "tokens"):
        assert "million pixels" in page.click(name, {"Your image: drop it here": bomb})["error"]


@pytest.mark.parametrize(
    "field, value", [("Steps", "x"), ("Steps", None), ("Steps", 10**9), ("Steps", float("nan")), ("Images", 2.5), ("Images", [1]), ("Images", 10**12),
    ("Seed", 1e308), ("Seed", -1), ("Seed", {}), ("Class", "<b>x</b>"), ("Class", 5), ("Sampler", "os.system"), ("Guidance", float("inf"))],
)  # fmt: skip
def test_a_field_that_holds_what_it_cannot_is_said(page, field, value):
    text = page.click("generate", {field: value})["error"]
    assert len(text.split()) > 3 and "Traceback" not in text and "<b>" not in text


def test_after_all_that_it_still_draws(page):
    output = page.click("generate", {"Steps": 2, "Images": 2})
    assert [Path(image["image"]["path"]).is_file() for image in output["data"][1]["value"]] == [True, True]


# how it ends


@pytest.mark.slow
def test_folders_go_with_their_pages_however_these_end(places):
    shared, precious = places / "shared", places / "precious"
    killed = Served(shared, wait=False)
    while not (killed.folders() and (killed.folders()[0] / "files").is_dir()):
        assert killed.process.poll() is None, killed.said()
        time.sleep(0.05)
    os.killpg(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    (left,), link = killed.folders(), shared / "d3pm-image-app-link"
    precious.mkdir()
    (precious / "lock").touch()
    link.symlink_to(precious)
    living = Served(shared)
    assert not left.exists() and len(living.folders()) == 2 and (precious / "lock").exists()
    listening = http.client.HTTPConnection("127.0.0.1", living.port, timeout=60)
    listening.request("GET", API + "/heartbeat/a")  # an open tab must not keep it from ending
    listening.getresponse()
    said = living.end(signal.SIGHUP)
    assert living.folders() == [link] and "SIGHUP" in said and "Traceback" not in said
    listening.close()


def test_a_page_that_draws_ends_after_sigterm_without_leaving_files(page):
    fresh = page.handed_in(png(9, 9))
    threading.Thread(target=quietly, args=(page,), daemon=True).start()
    time.sleep(1)
    said = page.end(signal.SIGTERM)
    assert page.folders() == [] and not Path(fresh["path"]).exists()
    assert "SIGTERM" in said and "Traceback" not in said and page.process.returncode == 0


def quietly(served: Served) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException, IndexError, AssertionError):
        served.click("generate", {"Steps": 100, "Images": 64})
