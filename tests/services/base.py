"""What every server of the tests has in common: what a client is told, and processes that never outlive the test.

A process is started in a group of its own and with the kernel's promise that it dies with the test's process; leaving
``with processes(...)`` ends the whole group, whatever happened.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "HOST",
    "INSTALLED",
    "MissingProgramError",
    "Processes",
    "Service",
    "ServiceError",
    "answers",
    "free_port",
    "make_bucket",
    "processes",
    "program",
    "s3_client",
    "s3_env",
    "wait_until",
]

HOST: Final = "127.0.0.1"
ROOT: Final = Path(__file__).resolve().parents[2]
#: Where ``tools/services`` installs.
INSTALLED: Final = ROOT / ".services"
#: Ports are drawn from below those that the kernel gives to outgoing connections, so that none is taken in between.
_PORTS: Final = (15000, 30000)
_handed_out: Final[set[int]] = set()


class ServiceError(Exception):
    """A server did not start or did not answer; the text ends with what it printed."""


class MissingProgramError(ServiceError):
    """A server is not installed; ``make services`` does that."""


@dataclass
class Service:
    """A running server and what a client needs to reach it.

    ``env`` holds every environment variable that a client needs, and none of its values is a real secret.
    ``store_url`` names a bucket that exists; :meth:`fresh_store` a place below it that no test has used.
    """

    name: str
    store_url: str
    env: dict[str, str]
    pids: list[int] = field(default_factory=list)
    #: The variables of a second account there, where the server has one: a bucket of the one is not the other's.
    second: dict[str, str] = field(default_factory=dict)
    #: The program with which its operator changes the first account's keys, where the server has one, up to the arguments.
    admin: list[str] = field(default_factory=list)

    def fresh_store(self) -> str:
        """The URL of a store with an unused prefix."""
        return f"{self.store_url}/{uuid.uuid4().hex[:12]}"


class Processes:
    """The processes of one server, in a directory that holds their output."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> list[int]:
        """The process ids, first started first."""
        return [process.pid for process in self._running]

    def spawn(self, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start a program that stays in the foreground; it sees PATH, HOME (the directory) and ``env``, nothing else."""
        log = self.directory / f"{Path(command[0]).name}.{len(self._running)}.out"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)],
                env=self.environment(env),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(process)

    def run(self, command: Sequence[str | Path], seconds: float = 60) -> str:
        """Run a program to its end and return what it printed.

        Raises:
            ServiceError: it failed or took too long.
        """
        try:
            done = subprocess.run(
                [*map(str, command)],
                env=self.environment(None),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=True,
                text=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise ServiceError(f"{self.name}: {error}\n{error.stdout!s}") from error
        return done.stdout

    def environment(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        """The environment that the processes get."""
        path = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
        return {"PATH": path, "HOME": str(self.directory), "TMPDIR": str(self.directory), "LC_ALL": "C.UTF-8"} | dict(
            extra or {}
        )

    def wait(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until ``ready``.

        Raises:
            ServiceError: a process ended, or the time is over; with the end of what the processes printed.
        """
        wait_until(lambda: ready() or self._ended(), seconds, f"{self.name} to answer", self._tail)
        if self._ended():
            raise ServiceError(f"{self.name} ended while it started\n{self._tail()}")

    def stop(self, seconds: float) -> None:
        """End every process group: politely, then not."""
        for sent, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10.0)):
            for process in reversed(self._running):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, sent)
            deadline = time.monotonic() + patience
            for process in self._running:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.01, deadline - time.monotonic()))

    def _ended(self) -> bool:
        return any(process.poll() is not None for process in self._running)

    def _tail(self) -> str:
        texts = (
            f"--- {path.name}\n{path.read_text(errors='replace')[-2000:]}"
            for path in sorted(self.directory.glob("*.out"))
        )
        return "\n".join(texts)


@contextmanager
def processes(name: str, directory: Path, patience: float = 5) -> Iterator[Processes]:
    """A place to start processes in, which all end with the block, killed where they take longer than ``patience``."""
    directory.mkdir(parents=True, exist_ok=True)
    group = Processes(name, directory.resolve())
    try:
        yield group
    finally:
        group.stop(patience)


def program(name: str, *places: Path) -> Path:
    """The path of an installed program: in one of ``places``, else on PATH.

    Raises:
        MissingProgramError: it is not installed.
    """
    for place in places:
        if (place / name).exists():
            return place / name
    found = shutil.which(name)
    if found is None:
        raise MissingProgramError(f"{name} is not installed; run `make services`")
    return Path(found)


def free_port(count: int = 1) -> int:
    """The first of ``count`` neighbouring loopback ports that nothing listens on, never handed out twice."""
    for _ in range(1000):
        first = random.randrange(*_PORTS)
        ports = range(first, first + count)
        if _handed_out.isdisjoint(ports) and all(_is_free(port) for port in ports):
            _handed_out.update(ports)
            return first
    raise ServiceError(f"no {count} free ports between {_PORTS[0]} and {_PORTS[1]}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def wait_until(ready: Callable[[], bool], seconds: float, what: str, detail: Callable[[], str] = str) -> None:
    """Ask ``ready`` again and again.

    Raises:
        ServiceError: it was not so within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ServiceError(f"waited {seconds} s for {what}, in vain\n{detail()}")
        time.sleep(0.03)


def answers(url: str, *, status: tuple[int, ...] = (200,), containing: bytes = b"") -> bool:
    """Whether a GET of the URL has one of these statuses and this text."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status in status and containing in response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code in status and containing in error.read()
    except OSError:
        return False


def s3_env(port: int, access_key: str, secret_key: str) -> dict[str, str]:
    """What S3 clients need to know of a server on loopback."""
    return {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ALLOW_HTTP": "true",
    }


@contextmanager
def s3_client(env: Mapping[str, str]) -> Iterator[Any]:
    """A botocore client of the S3 server that ``env`` describes."""
    import botocore.config
    import botocore.session

    client: Any = botocore.session.Session().create_client(
        "s3",
        region_name=env["AWS_REGION"],
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        config=botocore.config.Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30),
    )
    try:
        yield client
    finally:
        client.close()


def make_bucket(env: Mapping[str, str], bucket: str) -> None:
    """Make a bucket on the S3 server that ``env`` describes, by botocore."""
    with s3_client(env) as client:
        client.create_bucket(Bucket=bucket)
