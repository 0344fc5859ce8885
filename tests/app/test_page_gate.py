"""The parts of the page's door that a running page of the tests does not show: other addresses to listen at, sums, old files."""

from __future__ import annotations

import os
import socket
import time

import pytest

from d3pm_image.app.folder import sweep
from d3pm_image.app.gate import Hosts, same_origin
from d3pm_image.app.quota import MIB, Limits, Quota, Refused
from d3pm_image.editing.outpaint import check_sides


def test_a_page_that_listens_everywhere_answers_to_addresses_and_its_own_name_only():
    for host in ("0.0.0.0", "::", "[::]"):
        hosts = Hosts(host)
        assert (
            "10.1.2.3:7860" in hosts
            and "[fe80::1]:7860" in hosts
            and "localhost" in hosts
            and socket.gethostname() in hosts
        )
        assert "evil.example" not in hosts and "10.1.2.3.evil.example" not in hosts


def test_a_page_at_one_address_answers_to_it_and_loopback():
    hosts = Hosts("Images.LAN")
    assert "images.lan:80" in hosts and "IMAGES.lan." in hosts and "127.0.0.1" in hosts
    assert "other.lan" not in hosts and "10.1.2.3" not in hosts
    assert "192.168.1.5:7860" in Hosts("192.168.1.5") and "192.168.1.6" not in Hosts("192.168.1.5")


@pytest.mark.parametrize(
    "origin, host, same",
    [
        ("http://127.0.0.1:7860", "127.0.0.1:7860", True),
        ("http://localhost", "localhost:80", True),
        ("https://images.lan", "images.lan", True),
        ("http://LOCALHOST:7860", "localhost.:7860", True),
        ("http://[::1]:7860", "[::1]:7860", True),
        ("http://127.0.0.1:7861", "127.0.0.1:7860", False),
        ("http://localhost:7860", "127.0.0.1:7860", False),
        ("http://127.0.0.1:7860/a", "127.0.0.1:7860", False),
        ("http://a@127.0.0.1:7860", "127.0.0.1:7860", False),
        ("http://127.0.0.1:99999", "127.0.0.1", False),
        ("ftp://127.0.0.1", "127.0.0.1", False),
        ("null", "127.0.0.1", False),
        ("http://[::1", "[::1]", False),
    ],
)
def test_same_origin(origin, host, same):
    assert same_origin(origin, host) is same


def test_uploads_are_bounded_by_session_and_in_total_for_an_hour():
    now = [0.0]
    quota = Quota(Limits(file=10 * MIB, session=20 * MIB, total=30 * MIB), lambda: now[0])
    with pytest.raises(Refused, match="larger than 10 MB"):
        quota.begin("a", 12 * MIB)
    for session in ("a", "a", "b"):
        quota.end(grown := quota.begin(session, 0))
        grown.came = 10 * MIB
    with pytest.raises(Refused, match="20 MB within an hour"):
        quota.begin("a", MIB)
    with pytest.raises(Refused, match="all its users"):
        quota.begin("c", MIB)
    now[0] = 3601.0
    open_one = quota.begin("a", 0)
    quota.received(open_one, bytes(9 * MIB))
    with pytest.raises(Refused):
        quota.received(open_one, bytes(3 * MIB))


def test_many_small_files_count_too():
    quota = Quota(Limits(session=MIB))
    with pytest.raises(Refused):
        for _ in range(17):
            quota.end(quota.begin("a", 10))
    with pytest.raises(Refused):
        quota.received(quota.begin("b", 1000), b'filename="a"' * 20)


def test_names_of_sessions_are_not_guessed_and_not_kept_for_ever():
    quota = Quota(Limits(sessions=3))
    names = [quota.new_session() for _ in range(5)]
    assert len(set(names)) == 5 and [quota.known(name) is None for name in names] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert quota.known("mine") is None


def test_old_files_go_and_the_oldest_of_too_many(tmp_path):
    for number, (age, size) in enumerate([(4000, 1), (3000, 60), (2000, 60), (10, 30)]):
        (tmp_path / str(number)).mkdir()
        path = tmp_path / str(number) / "a.png"
        path.write_bytes(bytes(size))
        os.utime(path, (time.time() - age, time.time() - age))
    known = {str(tmp_path / str(number) / "a.png") for number in range(4)}
    sweep(tmp_path, [known], most=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"] and len(known) == 2


def test_sides_are_checked_before_anything_is_allocated():
    check_sides((9, 9), {"left": 10_000, "top": 0, "right": 0, "bottom": 0})
    for sides in ((10_001, 0, 0, 0), (0, -1, 0, 5), (10_000, 10_000, 10_000, 10_000)):
        with pytest.raises(ValueError):
            check_sides((9, 9), dict(zip(("left", "top", "right", "bottom"), sides, strict=True)))
