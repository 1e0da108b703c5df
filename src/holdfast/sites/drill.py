"""Restore drills: a backup is brought back from each store into a scratch folder, verified, and thrown away.

A backup that was never brought back is a hope. A drill reads what is in the store, and says of each store whether it would do.
"""

from __future__ import annotations

import glob
import random
import secrets
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.cache.work import open_work_dir
from holdfast.errors import HoldfastError
from holdfast.model.spec import AssetSpec
from holdfast.sites.history import chosen
from holdfast.verify import verify

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import SiteStore, Stores

__all__ = ["Drill", "drill"]


@dataclass(frozen=True, slots=True)
class Drill:
    """How it went with one store."""

    spec: str
    store: str
    ok: bool
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    kind: str = ""
    message: str = ""


def drill(
    plan: Plan, stores: Stores, spec: str, *, at: datetime | None = None, files: int | None = None
) -> list[Drill]:
    """Bring a backup back from every store that has to have it; ``files`` is how many, drawn at random, instead of all.

    Raises:
        NotFoundError: no store has such a backup.
    """
    name, version, _ = chosen(plan, stores, spec, at)
    return [_drilled(store, name, version, files) for store in stores.all]


def _drilled(store: SiteStore, name: str, version: str, files: int | None) -> Drill:
    begun, spec = time.monotonic(), f"{name}:{version}"
    try:
        repository = store.repository
        for finding in verify(repository, spec):
            if not finding.ok:
                return Drill(spec, store.url, ok=False, kind=finding.state, message=finding.message)
        work = open_work_dir(repository.state / "sites" / "drill", secrets.token_hex(6))
        try:
            include = _drawn(store, spec, files) if files is not None else []
            repository.retriever.fetch(AssetSpec(name, version), {"to": work.copy, "include": include})
            sizes = [path.stat().st_size for path in work.copy.rglob("*") if path.is_file() and not path.is_symlink()]
        finally:
            shutil.rmtree(work.path, ignore_errors=True)
    except HoldfastError as error:
        return Drill(spec, store.url, ok=False, kind=error.kind, message=error.message)
    return Drill(
        spec, store.url, ok=True, files=len(sizes), bytes=sum(sizes), seconds=round(time.monotonic() - begun, 3)
    )


def _drawn(store: SiteStore, spec: str, count: int) -> list[str]:
    paths = [entry.path for entry in store.repository.files(spec) if entry.kind == "file"]
    return [f"/{glob.escape(path)}" for path in random.sample(paths, min(count, len(paths)))]
