"""The session to a server: tries, refusals, redirects, limits."""

from __future__ import annotations

import gzip
import socket
import ssl
import subprocess
import threading

import pytest

from holdfast import remote
from holdfast.errors import (
    AccessError,
    BusyError,
    ConflictError,
    HoldfastError,
    NotFoundError,
    UnreachableError,
    UsageError,
    VersionNotFoundError,
    raised_elsewhere,
)
from holdfast.formats import layout
from holdfast.formats.api import InfoReply, PushRequest
from holdfast.remote import Pushes, Remote, Server
from holdfast.store.granted import Granted
from holdfast.store.grants import leave_of
from holdfast.store.signed import SignedStore
from holdfast.transfer.engine import Engine
from tests.client.answering import answering, error

INFO = {"version": "1", "login": ["password"]}


def impatient(url, token=None, **more):
    return Server(url, token, pause=lambda _: None, **more)


def test_ask__token_and_query():
    """A request goes below /api/v1 with the token in its header, and with names encoded in the query."""
    with answering(lambda _: (200, {}, INFO)) as (url, asked):
        found = impatient(url + "/", "secret").ask(
            "GET", "info", InfoReply, query={"spec": "a/b c:1", "level": True, "x": None}
        )
    assert found == InfoReply("1", login=["password"])
    assert asked[0].path == "/api/v1/info?spec=a%2Fb%20c%3A1&level=true"
    assert asked[0].headers["Authorization"] == "Bearer secret"


def test_ask__gzip():
    """An answer may come compressed."""
    import json

    body = gzip.compress(json.dumps(INFO).encode())
    with answering(lambda _: (200, {"Content-Encoding": "gzip"}, body)) as (url, asked):
        assert impatient(url).ask("GET", "info", InfoReply).version == "1"
    assert asked[0].headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_ask__again(status):
    """A busy or broken answer is asked for again, a few times."""
    answers = [(status, {"Retry-After": "0"}, b"")] * 2 + [(200, {}, INFO)]
    with answering(lambda _: answers.pop(0)) as (url, asked):
        assert impatient(url).ask("GET", "info", InfoReply).version == "1"
    assert len(asked) == 3


def test_ask__again_after_a_broken_connection():
    """A connection that breaks before the answer is no failure yet."""
    answers = [(None, {}, b""), (200, {}, INFO)]
    with answering(lambda _: answers.pop(0)) as (url, _):
        assert impatient(url).ask("POST", "info", InfoReply, body=PushRequest("1", "n", "now")).version == "1"


def test_ask__not_again():
    """What does something new each time is sent once."""
    with answering(lambda _: (503, {}, b"")) as (url, asked), pytest.raises(UnreachableError):
        impatient(url).ask("POST", "login", InfoReply, body={}, again=False)
    assert len(asked) == 1


def test_ask__gives_up():
    """After a few tries the failure is told, with what the server said."""
    with (
        answering(lambda _: (503, {}, error("unreachable", "the bucket is gone", hint="wait"))) as (url, asked),
        pytest.raises(UnreachableError, match="the bucket is gone") as found,
    ):
        impatient(url).ask("GET", "info", InfoReply)
    assert found.value.hint == "wait"
    assert len(asked) == 4


def test_ask__the_errors_class():
    """A refusal comes out as the class of its kind, and as the finer one where the server names it."""
    for name, kind, expected in [
        ("VersionNotFoundError", "not_found", VersionNotFoundError),
        (None, "not_found", NotFoundError),
        ("HoldfastError", "conflict", ConflictError),
        ("os.system", "no such kind", HoldfastError),
    ]:
        with (
            answering(lambda _, n=name, k=kind: (409, {}, error(k, "m", subject="s", name=n))) as (url, _),
            pytest.raises(expected, match="m") as found,
        ):
            impatient(url).ask("GET", "info", InfoReply)
        assert type(found.value) is expected
        assert found.value.subject == "s"


def test_raised_elsewhere__only_ours():
    """A name that is none of our errors, or of another kind, is not believed."""
    assert type(raised_elsewhere("usage", "m", name="AccessError")) is UsageError


def test_ask__not_signed_in():
    """401 says how to sign in, and exits with 6."""
    with answering(lambda _: (401, {}, error("not_allowed", "the token has expired"))) as (url, _):
        with pytest.raises(AccessError, match="expired") as found:
            impatient(url, "x").ask("GET", "info", InfoReply)
        assert found.value.hint == f"asset login {url}"
    assert found.value.exit_code == 6


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_ask__redirects_are_not_followed(status):
    """A token never travels through a redirect: it is an error that names the other address, without its query."""
    with answering(lambda _: (200, {}, INFO)) as (other, asked):
        with (
            answering(lambda _: (status, {"Location": f"{other}/x?t=secret"}, b"")) as (url, _),
            pytest.raises(UnreachableError, match="not followed") as found,
        ):
            impatient(url, "x").ask("GET", "info", InfoReply)
        assert other in found.value.message
        assert "secret" not in found.value.message
    assert asked == []


def test_ask__another_program():
    """What is no Holdfast server is said to be none."""
    with answering(lambda _: (200, {}, b"<html>")) as (url, _), pytest.raises(UnreachableError, match="does not read"):
        impatient(url).ask("GET", "info", InfoReply)
    with answering(lambda _: (404, {}, b"<html>")) as (url, _), pytest.raises(UnreachableError, match="status 404"):
        impatient(url).ask("GET", "info", InfoReply)
    with answering(lambda _: (429, {}, b"<html>")) as (url, _), pytest.raises(BusyError):
        impatient(url).ask("GET", "info", InfoReply)


def test_ask__an_answer_without_end(monkeypatch):
    """An answer that does not end is given up."""
    monkeypatch.setattr(remote, "_LONGEST", 1000)
    with answering(lambda _: (200, {}, b" " * 5000)) as (url, _), pytest.raises(UnreachableError, match="no end"):
        impatient(url).ask("GET", "info", InfoReply)


def test_ask__nobody_there():
    """An address at which nobody answers is unreachable, with the cause and no more."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=r"^no answer from .*: \[Errno 111\] Connection refused$") as caught:
            impatient(url).ask("GET", "info", InfoReply)
        assert caught.value.message == f"no answer from {url}: [Errno 111] Connection refused"


def test_get__server_gone():
    """Where the server itself, through which an object was to come, does not answer any more, that is said, and nothing of a bucket."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        store = SignedStore(Remote(impatient(url), "p", Pushes()), streamed=True)
        store._granted = Granted(pause=lambda _: None)
        with pytest.raises(UnreachableError) as caught:
            store.get("k")
    where = url.removeprefix("http://")
    assert caught.value.message == f"no answer from {where} for k: [Errno 111] Connection refused"
    assert caught.value.hint == "is the server running?"


@pytest.mark.parametrize("url", ["host", "ftp://host", "https://", "https://me:pw@host", "https://host?x=1"])
def test_server__no_address(url):
    """An address that is none, or has a secret in it, is refused."""
    with pytest.raises(UsageError):
        Server(url)


def test_ask__certificates(tmp_path):
    """A server whose certificate nobody vouches for is refused; with its authority in a file it is not."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with answering(lambda _: (200, {}, INFO)) as (plain, asked), socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_tls_front, args=(listening, context, plain), daemon=True).start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(UnreachableError) as found:
            impatient(url, "x").ask("GET", "info", InfoReply)
        assert "SSL_CERT_FILE" in (found.value.hint or "")
        assert asked == []
        assert impatient(url, ca=str(cert)).ask("GET", "info", InfoReply).version == "1"
    with pytest.raises(UsageError, match="certificates"):
        impatient("https://h", ca=str(tmp_path / "none.pem")).ask("GET", "info", InfoReply)


def _tls_front(listening, context, plain):
    """Takes TLS off and hands on one answer a connection."""
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(client, server_side=True) as secure:
                request = secure.recv(65536)
                port = int(plain.rpartition(":")[2])
                with socket.create_connection(("127.0.0.1", port)) as behind:
                    behind.sendall(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                    while piece := behind.recv(65536):
                        secure.sendall(piece)
        except OSError:
            pass


def test_pushes():
    """A key belongs to the push that claimed what it lies under, else to the push that was opened last."""
    pushes = Pushes()
    assert pushes.of("x") is None
    pushes.opened("one")
    pushes.claimed("n/1.0", "one")
    pushes.opened("two")
    assert pushes.of("n/1.0/sub/file") == "one"
    assert pushes.of("n/1.0") == "one"
    assert pushes.of("n/1.01") == "two"


def test_pushes__in_threads():
    """What the threads of a transfer write is of the push that their own thread opened last, whatever others open."""
    pushes, engine = Pushes(), Engine(jobs=2)
    pushes.opened("one")
    other = threading.Thread(target=pushes.opened, args=("two",))
    other.start()
    other.join()

    of, found = pushes.of, []
    engine.pipe(["x", "y"], of, found.append, at_once=2)
    with engine.behind(lambda key: found.append(of(key))) as behind:
        behind("x")
    with engine.beside(lambda key: found.append(of(key)), 2) as beside:
        beside("x")
    found += [*engine.run(of, ["x", "y"]), *engine.both(lambda: of("x"), lambda: of("y")), *engine.in_order(of, "xy")]
    assert found == ["one"] * len(found)


def test_ask__signed_in_anew():
    """Where a token has lapsed and its user signed in anew, the new token is used, for a program that has run all the while."""

    def answer(request):
        known = request.headers["Authorization"] == "Bearer new"
        return (200, {}, INFO) if known else (401, {}, error("not_allowed", "the token has expired"))

    kept = ["old"]
    with answering(answer) as (url, asked):
        server = Server(url, "old", pause=lambda _: None, tokens=lambda: kept[0])
        with pytest.raises(AccessError, match="expired"):
            server.ask("GET", "info", InfoReply)
        assert len(asked) == 1
        kept[0] = "new"
        assert server.ask("GET", "info", InfoReply).version == "1"
        assert len(asked) == 3


def test_ask__signed_in_anew_in_threads():
    """Of requests side by side that are refused with a token that has lapsed, each is sent again with the new one."""
    together = threading.Barrier(4)

    def answer(request):
        if request.headers["Authorization"] == "Bearer new":
            return (200, {}, INFO)
        together.wait(10)
        return (401, {}, error("not_allowed", "the token has expired"))

    with answering(answer) as (url, asked):
        server = Server(url, "old", pause=lambda _: None, tokens=lambda: "new")
        found = Engine(jobs=4).run(lambda _: server.ask("GET", "info", InfoReply).version, range(4))
        assert (found, len(asked)) == (["1"] * 4, 8)


def test_put__signed_in_anew():
    """An object that goes through the server is sent again with the new token where the old one has lapsed in the middle of a push."""

    def answer(request):
        if request.path.endswith("/store"):
            told = {"url": "file:///x", "record": None, "now": 0.0, "create": True, "replace": True, "reason": None}
            return (200, {}, told | {"signs_get": False, "signs_put": False})
        if request.headers["Authorization"] != "Bearer new":
            return (401, {}, error("not_allowed", "the token has expired"))
        return (200, {}, {"key": "x", "size": len(request.body), "version": "v", "modified": 0.0})

    kept = ["old"]
    with answering(answer) as (url, _):
        server = Server(url, "old", pause=lambda _: None, tokens=lambda: kept[0])
        project = Remote(server, "p", Pushes())
        project.pushes.opened("0" * 32)
        store = SignedStore(project)
        with pytest.raises(AccessError, match="expired"):
            store.put(layout.pack_key("0" * 64), b"bytes")
        kept[0] = "new"
        assert store.put(layout.pack_key("0" * 64), b"bytes").size == 5


@pytest.mark.parametrize("method", ["get", "put"])
def test_granted__waits_as_it_is_asked_to(method):
    """A bucket that asks to be left alone for a while is, though not for long."""
    answers = [(503, {"Retry-After": "7"}, b""), (429, {"Retry-After": "9999"}, b""), (503, {}, b"")]
    answers.append((200, {"ETag": '"e"'}, b"" if method == "put" else b"bytes"))
    pauses = []
    with answering(lambda _: answers.pop(0)) as (url, asked):
        granted = Granted(pause=pauses.append)
        leave = leave_of("key", f"{url}/b/key?signed", {}, 0.0)
        found = granted.put(leave, b"bytes") if method == "put" else granted.get(leave).info
    assert (found.key, found.etag, len(asked)) == ("key", "e", 4)
    assert 7 <= pauses[0] < 8
    assert 20 <= pauses[1] < 21
    assert pauses[2] < 3


def test_granted__a_proxy_that_takes_no_large_bodies():
    """A proxy that finds a body too large is told as one, with the setting to look at."""
    with answering(lambda _: (413, {}, b"<html>413 Request Entity Too Large</html>")) as (url, _):
        leave = leave_of("k", f"{url}/k", {}, 0.0, streamed=True)
        with pytest.raises(UnreachableError, match="answers 413 for k") as caught:
            Granted(pause=lambda _: None).put(leave, b"data")
    assert "client_max_body_size" in caught.value.hint
