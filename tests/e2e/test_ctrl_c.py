"""Ctrl-C ends a command, whatever it waits for."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from holdfast.cli.main import run
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Asset

#: Whoever runs the tests in the background has Ctrl-C ignored.
HEARS = ["env", "--default-signal=INT", sys.executable]


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections, and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("line", [("list",), ("fetch", "n/a:1.0"), ("push", "model", "n/a"), ("verify", "--all")])
def test_ctrl_c__while_a_store_is_silent(asset: Asset, silent: str, line: tuple[str, ...]) -> None:
    """Ctrl-C ends a command within seconds though its store says nothing, which would be waited for much longer."""
    environ = asset.environ(
        HOLDFAST_STORE="s3://bucket/x", AWS_ENDPOINT_URL=silent, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b",
    )  # fmt: skip
    with subprocess.Popen(
        [*HEARS, "-m", "holdfast.cli", *line, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=asset.folder,
        env=environ,
    ) as process:
        time.sleep(1.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            out, _ = process.communicate(timeout=10)
        finally:
            process.kill()
    assert (process.returncode, json.loads(out)["error"]["kind"]) == (130, "interrupted")


_BUSY = """
import os, time
from holdfast.cli.interrupting import heard

def end():
    print("ended", flush=True)
    os._exit(130)

with heard(end):
    try:
        print("begun", flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        print("heard", flush=True)
    until = time.monotonic() + {seconds}
    while time.monotonic() < until:  # what must be done before the end
        try:
            time.sleep(0.1)
        except KeyboardInterrupt:
            print("heard again", flush=True)
print("left")
"""


@pytest.mark.parametrize(
    ("seconds", "again", "said"),
    [
        (3, None, ["heard", "left"]),
        (1, 0.1, ["heard", "heard again", "left"]),
        (3, 0.1, ["heard", "heard again", "left"]),
        (1.5, 0.8, ["heard", "heard again", "left"]),
        (30, 0.8, ["heard", "heard again", "ended"]),
    ],
)
def test_ctrl_c__again_while_it_ends(seconds: float, again: float | None, said: list[str]) -> None:
    """A second Ctrl-C gives a command two seconds; one that comes at once, from a program that hands it on, is the same as the first."""
    script = _BUSY.format(seconds=seconds)
    with subprocess.Popen([*HEARS, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "heard\n"
        if again is not None:
            time.sleep(again)
            process.send_signal(signal.SIGINT)
        try:
            out, _ = process.communicate(timeout=15)
        finally:
            process.kill()
    assert ["heard", *out.split("\n")[:-1]] == said
    assert process.returncode == (130 if said[-1] == "ended" else 0)


_HANDLED = """
import signal, time
from holdfast.cli.interrupting import heard

with heard(lambda: print("ended", flush=True)):
    signal.signal(signal.SIGINT, lambda *_: None)
    print("begun", flush=True)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        time.sleep(0.1)
"""


def test_ctrl_c__of_a_command_that_handles_it() -> None:
    """A command that handles Ctrl-C by itself, as one that waits for a mount, is not ended by it."""
    with subprocess.Popen([*HEARS, "-c", _HANDLED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")


def test_ctrl_c__waits_for_no_thread() -> None:
    """What threads of a transfer still wait for at Ctrl-C is not waited for, and is known to be under way."""
    engine, answered, asked = Engine(), threading.Event(), threading.Event()

    def wait(_: int) -> None:
        asked.set()
        answered.wait(30)

    def interrupted() -> None:
        with engine.beside(wait, 2) as give:
            give(1)
            asked.wait(30)
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert not answered.is_set()
        assert not engine.stop(0.05)
    finally:
        answered.set()
    assert engine.stop(30)


def test_ctrl_c__of_whoever_has_it_ignored() -> None:
    """A program that was started with Ctrl-C ignored goes on ignoring it."""
    script = "import os, signal; from holdfast.cli.interrupting import heard\nwith heard(print): os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run(
        ["env", "--ignore-signal=INT", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == ""


def test_ctrl_c__in_a_thread() -> None:
    """A command that somebody runs in a thread of his own program runs there."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run(["config", "--help"])))
    thread.start()
    thread.join()
    assert codes == [0]
