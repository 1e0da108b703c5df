"""modelkit 0.1.3 itself beside our drop-in: one program, run with either, on a folder and on a real S3."""

from __future__ import annotations

import json
import os
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
#: Asked before the environment is cleaned for the tests.
_SKIP = os.environ.get("HOLDFAST_SKIP_SERVICES") == "1"


class CallError(Exception):
    """The program failed; ``kinds`` are the names of the error's classes, nearest first."""

    def __init__(self, kinds: list[str], message: str) -> None:
        super().__init__(f"{kinds[0]}: {message}")
        self.kinds = kinds


@dataclass(frozen=True)
class Side:
    """The program with one of the two packages, for one store and one assets folder."""

    python: Path
    package: str
    environ: dict[str, str]

    def __call__(self, command: str, *arguments: object, **environ: str) -> Any:
        done = subprocess.run(
            [str(self.python), str(PROGRAM), self.package, command, *map(str, arguments)],
            env=os.environ | self.environ | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
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


@pytest.fixture
def theirs(real_python, store):
    """modelkit itself."""
    return Side(real_python, "modelkit.assets", store)


@pytest.fixture
def ours(store):
    """The drop-in."""
    return Side(Path(sys.executable), "holdfast.modelkit", store)


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
