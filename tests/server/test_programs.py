"""Programs that a browser signs in: a code for a loopback port that is good once, and letters that somebody types."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from holdfast.server import accounts
from tests.server.conftest import PASSWORD
from tests.server.visiting import Visitor

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASKED = {"port": "54321", "challenge": CHALLENGE, "nonce": "n" * 22}
ASKING = f"/login/program?{urlencode(ASKED)}"


def visitor(server, name="root"):
    """The browser of somebody who is signed in."""
    made = Visitor(server.client)
    assert made.sign_in(name).status_code == 303
    return made


def allowed(server):
    """Where a browser goes once a program is allowed."""
    browser = visitor(server)
    page = browser.get(ASKING)
    assert page.status_code == 200, page.text
    return browser.post("/login/program", page, **ASKED, answer="allow").headers["location"]


@pytest.fixture
def later(server):
    """A function that moves the server's clock on."""
    clock = server.service.clock

    class Later:
        ahead = 0.0

        def now(self):
            return clock.now() + timedelta(seconds=self.ahead)

        def since_boot(self):
            return clock.since_boot() + self.ahead

    moved = server.service.clock = server.service.attempts._clock = Later()

    def move(seconds):
        moved.ahead += seconds

    return move


def brought(location):
    """What a browser brings to a program's port of this machine."""
    parts = urlsplit(location)
    assert (parts.scheme, parts.netloc, parts.path) == ("http", "127.0.0.1:54321", "/")
    return dict(parse_qsl(parts.query))


def exchange(server, code, verifier=VERIFIER):
    return server.post("/api/v1/login/code", None, json={"code": code, "verifier": verifier, "label": "a test"})


def test_program(server):
    """Whoever is signed in allows a program, whose port then gets a code; code and verifier are a token of theirs, once."""
    found = brought(allowed(server))
    assert found["nonce"] == ASKED["nonce"]
    reply = exchange(server, found["code"])
    assert reply.status_code == 200, reply.text
    assert reply.json()["name"] == "root"
    assert server.get("/api/v1/whoami", reply.json()["token"]).json()["name"] == "root"
    assert reply.json()["row"]["label"] == "a test"
    assert exchange(server, found["code"]).status_code == 403


def test_program__sign_in_first(server):
    """Whoever is not signed in yet does so, and comes back to what the program asks."""
    browser = Visitor(server.client)
    page = browser.get(ASKING)
    assert page.status_code == 401
    sent = browser.sign_in(page=page).headers["location"]
    assert sent.startswith("/login/program?")
    page = browser.get(sent)
    assert "54321" in page.text
    assert "form-action 'self' http://127.0.0.1:54321;" in page.headers["content-security-policy"]


def test_program__wrong_verifier(server):
    """A code with another verifier is refused, and no good afterwards with the right one."""
    code = brought(allowed(server))["code"]
    assert exchange(server, code, "w" * 43).status_code == 403
    assert exchange(server, code, VERIFIER).status_code == 403


def test_program__too_late(server, later):
    """A code is good for a minute."""
    code = brought(allowed(server))["code"]
    later(61)
    assert exchange(server, code).status_code == 403


def test_program__refused(server):
    """Who refuses sends the program no code."""
    browser = visitor(server)
    page = browser.get(ASKING)
    found = brought(browser.post("/login/program", page, **ASKED, answer="no").headers["location"])
    assert found == {"error": "refused", "nonce": ASKED["nonce"]}


def test_program__no_form_of_ours(server):
    """A form that another page sends, without the mark of this session, gets no code; nor does one by a token of the API."""
    browser = visitor(server)
    for more in ({}, {"form_mark": "0" * 64}):
        answer = browser.send("/login/program", **ASKED, answer="allow", **more)
        assert answer.status_code == 403
        assert "location" not in answer.headers
    assert server.get(ASKING, "root").status_code == 401


WRONG = (
    {"port": "80"},
    {"port": "70000"},
    {"port": "54321@evil.example"},
    {"port": "evil.example"},
    {"port": "\uff15\uff14\uff13\uff12\uff11"},
    {"port": ""},
    {"challenge": "short"},
    {"challenge": "plain=" * 8},
    {"nonce": "x"},
    {"nonce": "a&code=b" * 4},
)


def test_program__to_another_host(server):
    """A browser is sent to a port of its own machine or nowhere: what is no port, challenge or nonce is refused."""
    browser = visitor(server)
    page = browser.get(ASKING)
    for wrong in WRONG:
        assert browser.get(f"/login/program?{urlencode(ASKED | wrong)}").status_code == 400, wrong
        answer = browser.post("/login/program", page, **(ASKED | wrong), answer="allow")
        assert answer.status_code == 400
        assert "location" not in answer.headers


def test_program__shut_out_meanwhile(server):
    """A code of an account that is shut out meanwhile is no token."""
    server.account("other", admin=True)
    code = brought(allowed(server))["code"]
    with server.service.database.write() as connection:
        accounts.set_disabled(connection, "root", disabled=True)
    assert exchange(server, code).status_code == 403


# letters


def begun(server):
    """A program that shows letters; its secret and the letters."""
    reply = server.post("/api/v1/login/device", None, json={"label": "<b>a box</b>"})
    assert reply.status_code == 200, reply.text
    told = reply.json()
    assert (told["page"], told["every"], told["expires"]) == ("login/device", 5, 600)
    return told["code"], told["letters"]


def poll(server, code):
    return server.post("/api/v1/login/device/token", None, json={"code": code})


def typed(browser, letters, answer=None):
    page = browser.get("/login/device")
    return browser.post("/login/device", page, letters=letters, **({} if answer is None else {"answer": answer}))


def test_device(server, later):
    """Letters that somebody types and allows, however written, give the program that shows them one token of theirs."""
    code, letters = begun(server)
    assert poll(server, code).json() == {}
    browser = visitor(server)
    shown = typed(browser, letters.lower().replace("-", " "))
    assert "&lt;b&gt;a box&lt;/b&gt;" in shown.text
    assert "signed in" in typed(browser, letters, "allow").text
    later(5)
    token = poll(server, code).json()["token"]["token"]
    assert server.get("/api/v1/whoami", token).json()["name"] == "root"
    later(5)
    assert poll(server, code).status_code == 403
    assert typed(browser, letters, "allow").status_code == 404


def test_device__refused(server, later):
    """What was refused stays refused, and the program is told."""
    code, letters = begun(server)
    browser = visitor(server)
    assert "refused" in typed(browser, letters, "refuse").text
    assert typed(browser, letters, "allow").status_code == 404
    answer = poll(server, code)
    assert answer.status_code == 403
    assert "refused" in answer.json()["error"]["message"]


def test_device__expired(server, later):
    """Letters are good for ten minutes, to type and to ask with, even when they were allowed."""
    code, letters = begun(server)
    other, allowed = begun(server)
    browser = visitor(server)
    typed(browser, allowed, "allow")
    later(601)
    assert typed(browser, letters, "allow").status_code == 404
    assert poll(server, code).status_code == poll(server, other).status_code == 403
    assert poll(server, "nonsense").status_code == 403


def test_device__too_fast(server, later):
    """A program that polls faster than it was told is told to wait, and gets no token before it does."""
    code, letters = begun(server)
    assert poll(server, code).status_code == 200
    typed(visitor(server), letters, "allow")
    for _ in range(2):
        later(2)
        answer = poll(server, code)
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) >= 5
    later(5)
    assert "token" in poll(server, code).json()


def test_device__guessing(server):
    """Guessing letters is slowed down, and so is asking for them."""
    browser = visitor(server)
    statuses = [typed(browser, f"BCDF-BCD{each}", "allow").status_code for each in "BCDFGHJKLMNP"]
    assert statuses[0] == 404
    assert statuses[-1] == 429
    asked = [server.post("/api/v1/login/device", None, json={}).status_code for _ in range(12)]
    assert asked[0] == 200
    assert asked[-1] == 429


def test_device__one_of_two_answers(server, later):
    """Of two people who type the same letters the first one decides."""
    code, letters = begun(server)
    with server.service.database.write() as connection:
        accounts.add_account(connection, "bob", PASSWORD, 0.0)
    assert typed(visitor(server, "bob"), letters, "allow").status_code == 200
    assert typed(visitor(server), letters, "allow").status_code == 404
    assert poll(server, code).json()["token"]["name"] == "bob"
