"""Who is told, when, and how: the pure machine, and real programs and addresses."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sites.notices import FAILED, OK, OVERDUE, Known, Notice, Observation, observed, overdue
from holdfast.sites.telling import Notices, deliver
from holdfast.sites.values import Notify
from tests.services.base import wait_until

NOTICE = Notice("ERROR", "mount", "/srv/www/images", FAILED, OK, "$(touch /x); `id`\n-x", 5.0)


def see(state: str, name: str = "hourly") -> Observation:
    return Observation("backup", name, state, state)


def test_notice__once_for_each_change():
    """Whoever is to be told is told once for each change of state, and what is well at first is no news."""
    known, told = {}, []
    for at, state in enumerate([OK, OK, FAILED, FAILED, FAILED, OK, OK, OVERDUE, OVERDUE, FAILED, OK]):
        known, notices = observed(known, [see(state)], float(at))
        told += [(notice.level, notice.state, notice.was, notice.at) for notice in notices]
    assert told == [
        ("ERROR", FAILED, OK, 2.0),
        ("INFO", OK, FAILED, 5.0),
        ("ERROR", OVERDUE, OK, 7.0),
        ("ERROR", FAILED, OVERDUE, 9.0),
        ("INFO", OK, FAILED, 10.0),
    ]
    assert observed({}, [see(FAILED)], 1.0)[1][0].was is None


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([OK, FAILED, OVERDUE])), max_size=40))
def test_notices__are_the_changes(history):
    """In whatever order things are observed, a subject's notices are its changes of state, each once, in order."""
    known, told = {}, []
    for at, (name, state) in enumerate(history):
        known, notices = observed(known, [see(state, name)], float(at))
        told += [(notice.name, notice.state) for notice in notices]
    for name in ("a", "b"):
        states = [state for each, state in history if each == name]
        changes = [new for old, new in zip([OK, *states], states, strict=False) if new != old]
        assert [state for each, state in told if each == name] == changes
        if states:
            assert known["backup", name].state == states[-1]


def test_overdue__by_the_last_time_that_it_was_well():
    """What was not well for longer than it may take is overdue; what failed, or was never heard of, is not told again."""
    known = {
        ("backup", "a"): Known(OK, 0.0, last_ok=100.0),
        ("backup", "b"): Known(OK, 0.0, last_ok=190.0),
        ("backup", "c"): Known(FAILED, 0.0, last_ok=1.0),
        ("backup", "d"): Known(OVERDUE, 0.0, first=5.0),
    }
    patience = {("backup", name): 50.0 for name in "abcde"}
    assert [each.name for each in overdue(known, patience, 200.0)] == ["a", "d"]


class Hook:
    """An address that keeps what it was given, and answers as it is told."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self.status, self.wait, self.location, self.asked = 200, 0.0, None, 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                hook.asked += 1
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(hook.wait)
                hook.bodies.append(body)
                self.send_response(hook.status)
                if hook.location:
                    self.send_header("Location", hook.location)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-key"


@pytest.fixture
def hook():
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture
def program(tmp_path):
    """A program that keeps its input and its environment."""
    path = tmp_path / "tell"
    path.write_text(f"#!/bin/sh\ncat >> {tmp_path}/input\nenv > {tmp_path}/env\n")
    path.chmod(stat.S_IRWXU)
    return path


def test_program__gets_the_notice_and_nothing_else(program, tmp_path, monkeypatch):
    """A program gets the notice on its input and in variables, through no shell, and nothing of our environment."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very/secret")
    assert deliver(Notify((str(program),)), "www-example-com", NOTICE) is None
    body = json.loads((tmp_path / "input").read_text())
    assert (body["level"], body["kind"], body["message"], body["site"]) == (
        "ERROR",
        "mount",
        NOTICE.message,
        "www-example-com",
    )
    environ = (tmp_path / "env").read_text()
    assert "HOLDFAST_LEVEL=ERROR" in environ
    assert "very/secret" not in environ


@pytest.mark.parametrize(
    ("run", "part"),
    [(("/no/such",), "cannot start"), (("/bin/false",), "code 1"), (("/bin/sleep", "60"), "longer than 0.3 s")],
)
def test_program__that_fails(run, part):
    """A program that is missing, fails or hangs is told of, and killed at its deadline."""
    begun = time.monotonic()
    assert part in deliver(Notify(run, deadline=0.3), "s", NOTICE)
    assert time.monotonic() - begun < 10


def test_webhook__gets_the_json(hook):
    """An address gets the notice as JSON."""
    assert deliver(Notify(webhook=hook.url), "s", NOTICE) is None
    assert hook.bodies[0]["name"] == "/srv/www/images"


@pytest.mark.parametrize(("status", "wait"), [(500, 0), (302, 0), (200, 2)])
def test_webhook__that_fails(hook, status, wait):
    """An address that refuses, leads elsewhere or does not answer in time is told of without its path, which is a key."""
    hook.status, hook.wait, hook.location = status, wait, hook.url
    wrong = deliver(Notify(webhook=hook.url, deadline=0.5), "s", NOTICE)
    assert "127.0.0.1 could not be told" in wrong
    assert "secret-key" not in wrong
    assert len(hook.bodies) == (0 if wait else 1)


def test_notices__outlive_the_process(hook, tmp_path):
    """What could not be told waits, over processes, in its order, and is told once."""
    warned: list[str] = []
    path, targets = tmp_path / "notices.json", [Notify(webhook=hook.url), Notify(("/bin/true",), levels=("INFO",))]
    hook.status = 503
    first = Notices(path, "s", targets, warn=warned.append)
    first.observe([see(FAILED)], 1.0)
    first.observe([see(OK)], 2.0)
    assert first.tell() == 2
    assert len(warned) == 1
    hook.status, hook.bodies = 200, []
    second = Notices(path, "s", targets, warn=warned.append)
    second.observe([see(OK)], 3.0)
    assert second.tell() == 0
    assert [body["level"] for body in hook.bodies] == ["ERROR", "INFO"]
    assert Notices(path, "s", targets, warn=warned.append).tell() == 0
    assert len(hook.bodies) == 2


def test_notices__left_to_another_process(hook, tmp_path):
    """Who tells already tells what others note meanwhile, too; a process that waited for it long enough leaves it at that."""
    path, targets = tmp_path / "notices.json", [Notify(webhook=hook.url)]
    first, second = (Notices(path, "s", targets, warn=print) for _ in range(2))
    first.observe([see(FAILED, "a"), see(FAILED, "b")], 1.0)
    hook.wait = 0.7
    teller = threading.Thread(target=first.tell)
    teller.start()
    wait_until(lambda: hook.asked, 10, "the first to tell")
    second.observe([see(FAILED, "c")], 2.0)
    assert second.tell(patience=0.1) > 0
    teller.join(20)
    assert [body["name"] for body in hook.bodies] == ["a", "b", "c"]
    assert second.tell() == 0
    assert len(hook.bodies) == 3


def test_notices__for_nobody(hook, tmp_path):
    """What waits for somebody whom the settings do not name any more is dropped."""
    path, hook.status = tmp_path / "notices.json", 503
    before = Notices(path, "s", [Notify(("/bin/true",)), Notify(webhook=hook.url)], warn=print)
    before.observe([see(FAILED)], 1.0)
    assert before.tell() == 1
    assert Notices(path, "s", [Notify(("/bin/true",))], warn=print).tell() == 0
    assert Notices(path, "s", [Notify(("/bin/true",)), Notify(webhook=hook.url)], warn=print).tell() == 0


def test_notices__damaged_memory(tmp_path):
    """A memory that cannot be read is none: what is not well is told once more."""
    path = tmp_path / "notices.json"
    path.write_text("{")
    notices = Notices(path, "s", [Notify(("/bin/true",))], warn=print)
    notices.observe([see(FAILED)], 1.0)
    assert notices.tell() == 0
    assert sorted(os.listdir(tmp_path)) == ["notices.json", "notices.lock", "notices.telling"]
