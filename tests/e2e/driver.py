"""A program that runs verbs of the client API, to be killed or started many times, and what its callers share.

``python -m tests.e2e.driver STORE ASSETS_DIR '[["push", "/source", "name", {"alias": "a"}], ["fetch", "name:1", {}]]'`` prints one line of
JSON for each step done, or for the error that ended it, and exits with the error's code. ``["wait", "/folder", n]`` meets the
other processes: it leaves a file there and waits until there are ``n``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path

from tests import forking

__all__ = ["Runner", "Shop", "content_of", "flat", "lay"]

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the steps."""
    import holdfast

    store, assets_dir, steps = sys.argv[1:]
    try:
        repository = holdfast.open(store, assets_dir=assets_dir)
        for verb, *arguments in json.loads(steps):
            print(json.dumps(_step(repository, verb, arguments), default=str), flush=True)
    except holdfast.HoldfastError as error:
        print(json.dumps({"error": error.kind, "message": error.message, "hint": error.hint}), flush=True)
        return error.exit_code
    return 0


def _step(repository, verb, arguments):
    options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
    if verb == "wait":
        return _meet(Path(arguments[0]), arguments[1])
    if verb == "fetch":
        result = repository.fetch_info(*arguments, **options)
    else:
        result = getattr(repository, verb)(*arguments, **options)
    return dataclasses.asdict(result) if dataclasses.is_dataclass(result) else result


def _meet(folder: Path, count: int) -> int:
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(os.listdir(folder)) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return count


# what the tests share


class Runner:
    """Starts the program with one environment: a service's, and folders of its own for state and settings."""

    def __init__(self, home: Path, env: dict[str, str] | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")} | (env or {})
        self._started: list[forking.Process] = []

    def close(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            if process.returncode is None:
                process.kill()
                process.communicate()
        self._started.clear()

    def start(self, store: str, assets: Path, *steps: list, failpoint: str | None = None) -> forking.Process:
        """A process that runs the steps."""
        env = self.env | ({"HOLDFAST_FAILPOINT": failpoint} if failpoint else {})
        process = forking.start("tests.e2e.driver", [store, assets, json.dumps(steps, default=str)], env=env, cwd=ROOT)
        self._started.append(process)
        return process

    def run(self, store: str, assets: Path, *steps: list) -> list:
        """What the steps answer."""
        return finished(self.start(store, assets, *steps))

    def kill(self, store: str, assets: Path, *steps: list, failpoint: str) -> None:
        """Run the steps until the failpoint, which must be reached."""
        process = self.start(store, assets, *steps, failpoint=failpoint)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, (
            f"{failpoint} was not reached: {process.returncode} {output}{errors}"
        )


def finished(process: forking.Process, *, code: int = 0) -> list:
    """What a process printed, once it ended as it should."""
    output, errors = process.communicate(timeout=180)
    assert process.returncode == code, f"exit {process.returncode}\n{output}{errors}"
    return [json.loads(line) for line in output.splitlines()]


def lay(folder: Path, content: dict[str, bytes]) -> Path:
    """A directory with these files."""
    for path, data in content.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def flat(path: Path) -> dict[str, bytes]:
    """The files of a copy, without the cache's marker; a file asset under ``""``."""
    if path.is_file():
        return {"": path.read_bytes()}
    found = {str(item.relative_to(path)): item.read_bytes() for item in path.rglob("*") if item.is_file()}
    found.pop(".SUCCESS", None)
    return found


def content_of(word: str, *, large: bool = False) -> dict[str, bytes]:
    """Three files that differ from word to word; one of them of 9 MiB where a large one is needed."""
    size = 9 * 1024 * 1024 if large else 2000
    block = f"{word} ".encode() * 1000
    return {
        "a.txt": word.encode(),
        "sub/b.bin": (block * (size // len(block) + 1))[:size],
        "sub/deeper/c": b"c" + word.encode(),
    }


class Shop:
    """A store under test and what must be in it: name → version → files. ``fetches`` are done into empty folders."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.must: dict[str, dict[str, dict[str, bytes]]] = {}
        self._count = 0

    def fresh(self, word: str = "assets") -> Path:
        """An empty folder that nobody has used."""
        self._count += 1
        path = self.folder / f"{word}-{self._count}"
        path.mkdir(parents=True)
        return path

    def open(self):
        """The repository, with an assets folder of its own."""
        import holdfast

        return holdfast.open(self.url, assets_dir=self.fresh())

    def push(self, name: str, content: dict[str, bytes], **options):
        """Push from another "machine", and note that it must stay."""
        version = self.open().push(lay(self.fresh("source"), content), name, **options).version
        self.note(name, version, content)
        return version

    def note(self, name: str, version: str, content: dict[str, bytes]) -> None:
        """This version is published; it must not have been before with other content."""
        assert self.must.setdefault(name, {}).setdefault(version, content) == content, f"{name}:{version} used twice"

    def check(self, name: str, *, removed: tuple[str, ...] = ()) -> list[str]:
        """Every listed version fetches whole; every version that was published is listed, and has its content."""
        repository = self.open()
        assert [item.problem for item in repository.list(name)] in ([None], [])
        try:
            listed = list(repository.versions(name).versions)
        except LookupError:
            listed = []
        assert len(listed) == len(set(listed))
        must = {version: content for version, content in self.must.get(name, {}).items() if version not in removed}
        assert set(must) <= set(listed), f"lost: {set(must) - set(listed)}"
        assert not set(removed) & set(listed)
        for version in listed:
            found = flat(repository.fetch(f"{name}:{version}"))
            assert found == must.get(version, found)
            assert found, f"{name}:{version} is empty"
        return listed


if __name__ == "__main__":
    sys.exit(main())
