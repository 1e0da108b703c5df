"""Real mounts of a bucket: ``rclone mount`` and ``s3fs``, each in a process that ends with the test run, whatever happens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services.base import MissingProgramError, processes, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services import Service

__all__ = ["mounted", "unmounted"]


@contextmanager
def mounted(kind: str, service: Service, directory: Path) -> Iterator[Path]:
    """The service's bucket, mounted below the directory."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or shutil.which("fusermount3") is None:
        pytest.skip("no /dev/fuse, or no fusermount3")
    root = directory / "mnt"
    with processes(kind, directory) as group:
        root.mkdir()
        command, env = _COMMANDS[kind](service, group.directory, root)
        group.spawn(command, env)
        try:
            group.wait(root.is_mount, 30)
            yield root
        finally:
            unmounted(root)


def unmounted(root: Path) -> None:
    """Take the mount away, though somebody may use it."""
    subprocess.run(["fusermount3", "-u", "-z", str(root)], check=False, capture_output=True)


def _rclone(service: Service, directory: Path, root: Path) -> tuple[list[str | Path], dict[str, str]]:
    """It uploads after the file was closed, which is what a push must live with."""
    env = service.env | {
        "RCLONE_S3_PROVIDER": "Ceph",
        "RCLONE_S3_ENV_AUTH": "true",
        "RCLONE_S3_ENDPOINT": service.env["AWS_ENDPOINT_URL"],
    }
    options = [
        "--config",
        "",
        "--cache-dir",
        directory / "cache",
        "--vfs-cache-mode",
        "writes",
        "--vfs-write-back",
        "200ms",
    ]
    options += ["--dir-cache-time", "1s"]
    bucket = service.store_url.removeprefix("s3://")
    return [program("rclone", Path(sys.executable).parent), "mount", *options, f":s3:{bucket}", root], env


def _s3fs(service: Service, directory: Path, root: Path) -> tuple[list[str | Path], dict[str, str]]:
    try:
        found = program("s3fs")
    except MissingProgramError:
        pytest.skip("s3fs is not installed")
    keys = directory / "keys"
    keys.write_text(f"{service.env['AWS_ACCESS_KEY_ID']}:{service.env['AWS_SECRET_ACCESS_KEY']}")
    keys.chmod(0o600)
    options = f"url={service.env['AWS_ENDPOINT_URL']},use_path_request_style,passwd_file={keys},stat_cache_expire=1"
    return [found, service.store_url.removeprefix("s3://"), root, "-f", "-o", options], {}


_COMMANDS = {"rclone": _rclone, "s3fs": _s3fs}
