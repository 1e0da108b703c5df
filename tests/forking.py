"""Programs that start without importing everything anew: each is a process of its own, forked from one that has imported it all.

Starting Python and importing Holdfast is most of what a short command costs, and the tests start thousands. A process that
begins here has its own number, environment, folder and streams, can be killed at any moment, and ends as any other; what was
started with it by the interpreter alone (``PYTHONPATH``, warnings, the locale) is that of the process that it was forked from. Where a
test wants other values of those, a new interpreter is started instead. What a start costs, that every command can be started so, and
that nothing is imported without need, is tested with processes started as users start them (``tests/e2e/test_program.py``).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

__all__ = ["Forked", "Process", "run", "start"]

ROOT = Path(__file__).resolve().parents[1]
#: Where a forked process finds modules; what PYTHONPATH says of these folders changes nothing.
PLACES = (str(ROOT / "src"), str(ROOT))
#: Read by the interpreter when it starts.
_AT_START = ("PYTHON", "LC_", "LANG")
#: Two ways to start it: with warnings as errors, or not.
_WARNINGS = (None, "error")
#: Not imported ahead: a server's libraries, which no command of the tests needs, and what runs when it is imported.
_LEFT_OUT = ("holdfast.server", "holdfast.modelkit")

Process: TypeAlias = "Forked | subprocess.Popen[str]"

#: Programs that are forked.
_FORKED = ("holdfast.cli", "tests.e2e.driver", "tests.mount.edit_program", "tests.e2e.telling")

#: Bytes of a process id, as it is told.
_NUMBER = 12

_lock = threading.Lock()
_nurseries: dict[str | None, socket.socket] = {}


def start(module: str, args, *, env: dict[str, str], cwd=None, stdin: str = "") -> Process:
    """Begin ``python -m MODULE ARGS…``."""
    words = [str(word) for word in args]
    if module not in _FORKED or not _can_fork(env):
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words], env=env, cwd=cwd, text=True,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        if stdin:
            process.stdin.write(stdin)
            process.stdin.close()
            process.stdin = None
        return process
    request = {"module": module, "args": words, "env": env, "cwd": str(cwd or os.getcwd())}
    return Forked(_nursery(env.get("PYTHONWARNINGS")), request, stdin)


def run(module: str, args, *, timeout: float | None = None, **options) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    process = start(module, args, **options)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return subprocess.CompletedProcess([module, *args], process.returncode, out, err)


class Forked:
    """A process that was forked, as :class:`subprocess.Popen` shows one; what it prints goes into files in memory."""

    def __init__(self, nursery: socket.socket, request: dict, stdin: str) -> None:
        self.args = [request["module"], *request["args"]]
        self.returncode: int | None = None
        self._streams = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
        self._report, told = os.pipe()
        asked = os.memfd_create("request")
        try:
            _fill(self._streams[0], stdin.encode())
            _fill(asked, json.dumps(request).encode())
            socket.send_fds(nursery, [b"?"], [asked, *self._streams, told])
        finally:
            os.close(told)
            os.close(asked)
        self.pid = int(os.read(self._report, _NUMBER) or b"0")  # behind it may stand already how it ended
        assert self.pid, "the process from which others are forked is gone"

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        if self.returncode is None and _is_readable(self._report, 0):
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        if self.returncode is None:
            if not _is_readable(self._report, timeout):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            told = os.read(self._report, 20)
            assert told, "the process from which others are forked is gone, and how this one ended is not known"
            self.returncode = int(told)
            os.close(self._report)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it printed."""
        self.wait(timeout)
        texts = []
        for stream in self._streams[1:]:
            os.lseek(stream, 0, os.SEEK_SET)
            with open(stream, encoding="utf-8") as file:
                texts.append(file.read())
        os.close(self._streams[0])
        return texts[0], texts[1]

    def kill(self) -> None:
        """As by ``kill -9``."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _is_readable(descriptor: int, timeout: float | None) -> bool:
    asked = select.poll()
    asked.register(descriptor, select.POLLIN)
    return bool(asked.poll(None if timeout is None else timeout * 1000))


def _fill(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)


def _can_fork(env: dict[str, str]) -> bool:
    """Whether an interpreter started with these variables would be as the one that is forked."""
    read = {name: value for name, value in env.items() if name.startswith(_AT_START)}
    warnings, path = read.pop("PYTHONWARNINGS", None), read.pop("PYTHONPATH", "")
    ours = warnings in _WARNINGS and {piece for piece in path.split(":") if piece} <= set(PLACES)
    return ours and all(os.environ.get(name) == value for name, value in read.items())


def _nursery(warnings: str | None) -> socket.socket:
    """The way to a process from which others are forked. It ends, and they with it, when this end of the way is closed, even by our death."""
    with _lock:
        if warnings not in _nurseries:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            kept = {name: value for name, value in os.environ.items() if name.startswith((*_AT_START, "PATH"))}
            kept.pop("PYTHONWARNINGS", None)
            env = kept | {"PYTHONPATH": ":".join(PLACES)} | ({"PYTHONWARNINGS": warnings} if warnings else {})
            started = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                cwd=ROOT, env=env, pass_fds=[theirs.fileno()], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            theirs.close()
            atexit.register(_end, ours, started)
            _nurseries[warnings] = ours
        return _nurseries[warnings]


def _end(way: socket.socket, process: subprocess.Popen[bytes]) -> None:
    way.close()
    process.wait()


# what runs in the process from which others are forked


def main() -> None:
    """Fork whatever is asked for, until nobody can ask any more."""
    with socket.socket(fileno=int(sys.argv[1])) as way:
        _import_all()
        gc.collect()
        gc.freeze()
        request = _serve(way)
    if request is not None:
        _end_with(_begin(request))


def _import_all() -> None:
    import rich.console  # noqa: F401 - what commands import when they need it

    import holdfast

    for found in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if not found.name.startswith(_LEFT_OUT) and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    assert len(os.listdir("/proc/self/task")) == 1, "a thread runs: nothing may be forked"


def _serve(way: socket.socket) -> dict | None:
    """In a child: its request. None at the end, with every child killed."""
    children: dict[int, tuple[int, int]] = {}
    with selectors.DefaultSelector() as waiting:
        waiting.register(way, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is not way:
                    waiting.unregister(key.fd)
                    _tell_end(key.fd, *children.pop(key.fd))
                    continue
                message, descriptors, _, _ = socket.recv_fds(way, 1, 5, socket.MSG_CMSG_CLOEXEC)
                if not message:
                    for child, _ in children.values():
                        os.kill(child, signal.SIGKILL)
                    return None
                child = os.fork()
                if child == 0:
                    for handle, (_, report) in children.items():
                        os.close(handle)
                        os.close(report)
                    return _become(descriptors)
                for each in descriptors[:4]:
                    os.close(each)
                handle = os.pidfd_open(child)
                children[handle] = (child, descriptors[4])
                waiting.register(handle, selectors.EVENT_READ)
                with suppress(BrokenPipeError):
                    os.write(descriptors[4], str(child).rjust(_NUMBER).encode())


def _tell_end(handle: int, child: int, report: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(BrokenPipeError):
        os.write(report, b"%d" % code)
    os.close(handle)
    os.close(report)


def _become(descriptors: list[int]) -> dict:
    """Take over streams; what is to be run."""
    asked, *streams, report = descriptors
    os.close(report)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    with open(asked, "rb") as file:
        return json.load(file)


def _begin(request: dict) -> int:
    """Run the module as the interpreter would; the code with which it ends."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    tempfile.tempdir = None
    importlib.reload(sys.modules["holdfast.failpoint"])  # which looked at the environment when it was imported
    sys.argv = [request["module"], *request["args"]]
    sys.path[:] = [request["cwd"], *(place for place in sys.path if place != request["cwd"])]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end_with(code: int) -> None:
    """End as the interpreter does, but for taking hundreds of modules apart, which is half of the cost."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
