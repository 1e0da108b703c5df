"""Who is measured, and the commands with which each does the same work as its own users would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.contender import ROOT, Contender, find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.contender import Command, Task

__all__ = ["CONTENDERS", "assets_of", "fetch_ours"]

_MODELKIT: Final = ROOT / ".services" / "modelkit" / "bin" / "modelkit"
_PART: Final = 8 * 1024 * 1024


def _run(*command: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
    subprocess.run(command, check=True, env={**os.environ, **(env or {})}, cwd=cwd, capture_output=True)


def _program(name: str) -> str:
    return find(name) or name


# --- Holdfast --------------------------------------------------------------------------------------------------------


def _ours(*arguments: str) -> Command:
    return [_program("asset"), *arguments]


def _ours_env(task: Task) -> dict[str, str]:
    """Nothing that another turn, or this one's other machine, remembers is seen: not a stat cache, not a manifest."""
    return {
        "HOLDFAST_STORE": f"s3://{task.bucket}/store" if task.bucket else f"file://{task.store}",
        "HOLDFAST_ASSETS_DIR": str(task.home / "assets"),
        "HOLDFAST_CONFIG": str(task.home / "config.toml"),
        "HOME": str(task.home),
        **{f"XDG_{kind}_HOME": str(task.home / f".{kind.lower()}") for kind in ("CACHE", "CONFIG", "STATE", "DATA")},
    }


def _ours_prepare(task: Task) -> None:
    _make_folders(task)
    task.on("first")


def _make_folders(task: Task) -> None:
    task.store.mkdir()
    task.out.mkdir()


def _ours_push(task: Task) -> Command:
    return _ours("push", str(task.source), "bench/data", *(["--layout", task.work.layout] if task.work.layout else []))


def fetch_ours(spec: str) -> Command:
    """Bring a version, or a part of it, of what was pushed."""
    return _ours("fetch", f"bench/data:{spec}")


def assets_of(task: Task, machine: str) -> Path:
    """Where a machine has the versions that it fetched."""
    return task.on(machine).home / "assets" / "bench" / "data"


# --- modelkit --------------------------------------------------------------------------------------------------------


def _modelkit_env(task: Task) -> dict[str, str]:
    common = {"MODELKIT_ASSETS_DIR": str(task.out)}
    if task.bucket is None:
        return common | {"MODELKIT_STORAGE_PROVIDER": "local", "MODELKIT_STORAGE_BUCKET": str(task.store)}
    return common | {
        "MODELKIT_STORAGE_PROVIDER": "s3",
        "MODELKIT_STORAGE_BUCKET": task.bucket,
        "S3_ENDPOINT": task.endpoint,
    }


# --- rclone ----------------------------------------------------------------------------------------------------------

_RCLONE: Final = ("--transfers", "32", "--checkers", "32", "--s3-no-check-bucket", "--s3-upload-concurrency", "8")
_RCLONE_LARGE: Final = ("--s3-chunk-size", "8M", "--multi-thread-streams", "8", "--multi-thread-cutoff", "64M")


def _rclone(task: Task, source: str, target: str) -> Command:
    verb = "copy" if task.work.count else "copyto"
    return [_program("rclone"), verb, source, target, *_RCLONE, *_RCLONE_LARGE]


def _rclone_env(task: Task) -> dict[str, str]:
    if task.bucket is None:
        return {"RCLONE_CONFIG": ""}
    return {
        "RCLONE_CONFIG": "",
        "RCLONE_CONFIG_X_TYPE": "s3",
        "RCLONE_CONFIG_X_PROVIDER": "Ceph",
        "RCLONE_CONFIG_X_ENV_AUTH": "true",
        "RCLONE_CONFIG_X_ENDPOINT": task.endpoint,
    }


def _rclone_store(task: Task) -> str:
    return f"X:{task.bucket}/data" if task.bucket else str(task.store / "data")


# --- DVC -------------------------------------------------------------------------------------------------------------


def _dvc_prepare(task: Task) -> None:
    _make_folders(task)
    repo = task.folder / "repo"
    repo.mkdir()
    copy = shutil.copytree if task.work.count else shutil.copyfile
    copy(task.source, repo / "data")
    dvc = _program("dvc")
    _run(dvc, "init", "--no-scm", "-q", cwd=repo)
    _run(dvc, "config", "core.analytics", "false", cwd=repo)
    _run(dvc, "config", "core.check_update", "false", cwd=repo)
    remote = f"s3://{task.bucket}/dvc" if task.bucket else str(task.store)
    _run(dvc, "remote", "add", "-d", "bench", remote, cwd=repo)
    if task.bucket:
        _run(dvc, "remote", "modify", "bench", "endpointurl", task.endpoint, cwd=repo)


def _dvc_between(task: Task) -> None:
    """A second machine: the same project without data and cache."""
    repo, other = task.folder / "repo", task.folder / "other"
    other.mkdir()
    shutil.copy(repo / "data.dvc", other / "data.dvc")
    shutil.copytree(repo / ".dvc", other / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))


# --- restic ----------------------------------------------------------------------------------------------------------


def _restic(task: Task, *arguments: str) -> Command:
    repository = f"s3:{task.endpoint}/{task.bucket}/restic" if task.bucket else str(task.store)
    return [_program("restic"), "-q", "-r", repository, "--no-cache", *arguments]


def _restic_env(_: Task) -> dict[str, str]:
    return {"RESTIC_PASSWORD": "bench"}


def _restic_prepare(task: Task) -> None:
    _make_folders(task)
    _run(*_restic(task, "init"), env={**task.server, **_restic_env(task)})


# --- cp --------------------------------------------------------------------------------------------------------------


def _cp(source: Path, target: Path, *, synced: bool) -> Command:
    copy = f"cp -r '{source}' '{target}'"
    return ["sh", "-c", f"{copy} && sync -f '{target}'" if synced else copy]


# --- the raw probe ---------------------------------------------------------------------------------------------------


def _probe(task: Task, small: str, large: str) -> Command:
    where = f"s3://{task.bucket}/probe"
    numbers = (task.work.size, _PART) if task.work.large else (task.work.count, task.work.size)
    verb = large if task.work.large else small
    return [sys.executable, str(ROOT / "bench" / "probe.py"), verb, where, *map(str, numbers)]


CONTENDERS: Final = (
    Contender(
        "raw probe",
        sys.executable,
        push=lambda task: _probe(task, "put", "put-parts"),
        fetch=lambda task: _probe(task, "get", "get-ranges"),
        fetched=lambda _: None,
        on=("bucket",),
    ),
    Contender(
        "cp, sync",
        "cp",
        push=lambda task: _cp(task.source, task.store / "data", synced=True),
        fetch=lambda task: _cp(task.store / "data", task.out / "data", synced=True),
        fetched=lambda task: task.out / "data",
        prepare=_make_folders,
        on=("folder",),
    ),
    Contender(
        "cp",
        "cp",
        push=lambda task: _cp(task.source, task.store / "data", synced=False),
        fetch=lambda task: _cp(task.store / "data", task.out / "data", synced=False),
        fetched=lambda task: task.out / "data",
        prepare=_make_folders,
        on=("folder",),
    ),
    Contender(
        "holdfast",
        "asset",
        push=_ours_push,
        fetch=lambda _: fetch_ours("0.0"),
        fetched=lambda task: assets_of(task, "second") / "0.0",
        env=_ours_env,
        prepare=_ours_prepare,
        versions=True,
    ),
    Contender(
        "modelkit",
        str(_MODELKIT),
        push=lambda task: ["sh", "-c", f"yes | '{_MODELKIT}' assets new '{task.source}' bench/data"],  # it asks twice
        fetch=lambda _: [str(_MODELKIT), "assets", "fetch", "bench/data:0.0", "--download"],
        fetched=lambda task: task.out / "bench" / "data" / "0.0",
        env=_modelkit_env,
        prepare=_make_folders,
    ),
    Contender(
        "s5cmd",
        "s5cmd",
        push=lambda task: [
            _program("s5cmd"),
            "cp",
            *(["-c", "8", "-p", "8"] if not task.work.count else []),
            f"{task.source}/" if task.work.count else str(task.source),
            f"s3://{task.bucket}/data/" if task.work.count else f"s3://{task.bucket}/data",
        ],
        fetch=lambda task: [
            _program("s5cmd"),
            "cp",
            *(["-c", "8", "-p", "8"] if not task.work.count else []),
            f"s3://{task.bucket}/data/*" if task.work.count else f"s3://{task.bucket}/data",
            f"{task.out}/data/" if task.work.count else f"{task.out}/data",
        ],
        fetched=lambda task: task.out / "data",
        env=lambda task: {"S3_ENDPOINT_URL": task.endpoint},
        prepare=_make_folders,
        on=("bucket",),
    ),
    Contender(
        "rclone",
        "rclone",
        push=lambda task: _rclone(task, str(task.source), _rclone_store(task)),
        fetch=lambda task: _rclone(task, _rclone_store(task), str(task.out / "data")),
        fetched=lambda task: task.out / "data",
        env=_rclone_env,
        prepare=_make_folders,
    ),
    Contender(
        "dvc",
        "dvc",
        push=lambda task: [
            "sh",
            "-c",
            f"cd '{task.folder}/repo' && '{_program('dvc')}' add -q data && '{_program('dvc')}' push -q",
        ],
        fetch=lambda task: ["sh", "-c", f"cd '{task.folder}/other' && '{_program('dvc')}' pull -q"],
        fetched=lambda task: task.folder / "other" / "data",
        prepare=_dvc_prepare,
        between=_dvc_between,
    ),
    Contender(
        "restic",
        "restic",
        push=lambda task: _restic(task, "backup", str(task.source)),
        fetch=lambda task: _restic(task, "restore", "latest", "--target", str(task.out)),
        fetched=lambda task: Path(f"{task.out}{task.source}"),
        env=_restic_env,
        prepare=_restic_prepare,
        versions=True,
    ),
)
