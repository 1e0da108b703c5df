"""modelkit 0.1.3 itself beside our drop-in: one program, run with either, on a folder and on a real S3."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("program.py")
REAL_PYTHON = ROOT / ".services" / "modelkit" / "bin" / "python"
#: Seconds that one call may take.
_PATIENCE = 300
#: Asked before the environment is cleaned for the tests.
_SKIP = os.environ.get("HOLDFAST_SKIP_SERVICES") == "1"


class CallError(Exception):
    """The program failed; ``kinds`` are the names of the error's classes, nearest first."""

    def __init__(self, kinds: list[str], message: str) -> None:
        super().__init__(f"{kinds[0]}: {message}")
        self.kinds = kinds


class Program:
    """The program with one of the two packages, started at its first use, by an interpreter that looks for packages in ``path``, too."""

    def __init__(self, python: Path, package: str, path: str = "") -> None:
        self._line = [str(python), str(PROGRAM), package]
        self._environ = os.environ | ({"PYTHONPATH": path} if path else {})
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, words: list[str], environ: dict[str, str]) -> str:
        """The line with which it answers; one call at a time."""
        if self._process is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._process = subprocess.Popen(self._line, env=self._environ, text=True, **pipes)
        asked, told = self._process.stdin, self._process.stdout
        assert asked is not None
        assert told is not None
        asked.write(json.dumps({"words": words, "environ": environ, "folder": os.getcwd()}) + "\n")
        asked.flush()
        assert select.select([told], [], [], _PATIENCE)[0], f"no answer to {words}"
        return told.readline().strip()

    def end(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


@dataclass(frozen=True)
class Side:
    """The program with one of the two packages, for one store and one assets folder."""

    program: Program
    environ: dict[str, str]

    def __call__(self, command: str, *arguments: object, **environ: str) -> Any:
        text = self.program([command, *map(str, arguments)], os.environ | self.environ | environ)
        assert text, f"{command} died; what it said is on stderr"
        answer = json.loads(text)
        if isinstance(answer, dict) and "error" in answer:
            raise CallError(answer["error"], answer["message"])
        return answer


@pytest.fixture(scope="session")
def real_python():
    """The interpreter that has the real modelkit."""
    if _SKIP:
        pytest.skip("HOLDFAST_SKIP_SERVICES=1")
    if not REAL_PYTHON.exists():
        pytest.fail("modelkit is not installed in .services/modelkit; run `make services`")
    return REAL_PYTHON


@pytest.fixture(params=["disk", "ceph"])
def store(request, tmp_path, service_environment):
    """The environment that both sides get: a store of this test's own."""
    found = {"MODELKIT_STORAGE_PREFIX": f"p-{uuid.uuid4().hex[:8]}", "MODELKIT_ASSETS_DIR": str(tmp_path / "assets")}
    (tmp_path / "assets").mkdir()
    if request.param == "disk":
        (tmp_path / "bucket").mkdir()
        return found | {"MODELKIT_STORAGE_PROVIDER": "local", "MODELKIT_STORAGE_BUCKET": str(tmp_path / "bucket")}
    service = request.getfixturevalue(request.param)
    service_environment(service)
    bucket = service.store_url.removeprefix("s3://")
    # Newer boto3 sends checksums that Ceph 16 does not know, unless told not to.
    quiet = {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"}
    return found | quiet | {"MODELKIT_STORAGE_PROVIDER": "s3", "MODELKIT_STORAGE_BUCKET": bucket}


@pytest.fixture(scope="session")
def their_program(real_python):
    """The program with modelkit."""
    program = Program(real_python, "modelkit.assets")
    yield program
    program.end()


@pytest.fixture(scope="session")
def our_program():
    """The program with the drop-in."""
    program = Program(Path(sys.executable), "holdfast.modelkit")
    yield program
    program.end()


@pytest.fixture(scope="session")
def mixed_program(real_python):
    """The program in modelkit's interpreter, with the drop-in."""
    program = Program(real_python, "holdfast.modelkit", str(ROOT / "src"))
    yield program
    program.end()


@pytest.fixture
def theirs(their_program, store):
    """modelkit itself."""
    return Side(their_program, store)


@pytest.fixture
def ours(our_program, store):
    """The drop-in."""
    return Side(our_program, store)


@pytest.fixture
def mixed(mixed_program, store):
    """modelkit's own library, where the drop-in is in place of its manager."""
    return Side(mixed_program, store)


@pytest.fixture(params=["major_minor", "simple_date"])
def scheme(request, monkeypatch):
    """Both versioning systems; the versions that a test pushes, oldest first."""
    monkeypatch.setenv("MODELKIT_ASSETS_VERSIONING_SYSTEM", request.param)
    if request.param == "major_minor":
        return ["0.0", "0.9", "0.10", "1.0"]
    return [f"202{year}-01-02T03-04-05Z" for year in range(4)]


@pytest.fixture(params=["file", "tree"])
def source(request, tmp_path):
    """A file, and a directory."""
    if request.param == "file":
        path = tmp_path / "data.bin"
        path.write_bytes(os.urandom(100_000))
        return path
    folder = tmp_path / "tree"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "empty").write_bytes(b"")
    (folder / "sub" / "deep" / "b.bin").write_bytes(os.urandom(50_000))
    return folder


def contents(path):
    """The files below a path, or the one at it, less markers."""
    path = Path(path)
    if path.is_file():
        return {"": path.read_bytes()}
    files = [found for found in sorted(path.rglob("*")) if found.is_file() and found.name != ".SUCCESS"]
    return {str(found.relative_to(path)): found.read_bytes() for found in files}
