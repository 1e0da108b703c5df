"""What lies in a store, and how many objects and bytes a push has added."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.work import files_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore import ObjectMeta

    from bench.contender import Task

__all__ = ["added", "objects_of", "stock"]


def stock(task: Task) -> dict[str, int]:
    """Key → bytes of all that lies in the turn's store."""
    found = _listed(task) if task.bucket else {}
    if task.store.exists():  # beside a bucket, too: `cp` copies into a folder
        found |= {os.path.relpath(entry.path, task.store): entry.stat().st_size for entry in files_of(task.store)}
    return found


def added(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[int, int]:
    """New objects, without those of ours that are swapped and the closed record of the push; and bytes, with all of them."""
    return sum(_counts(key) for key in after.keys() - before.keys()), sum(after.values()) - sum(before.values())


def _counts(key: str) -> bool:
    _, ours, inner = f"/{key}".partition("/.holdfast/")
    if ours:
        return not (inner == "store.json" or inner.startswith(("assets/", "gen/", "pushes/")))
    return not key.endswith(".versions")


def objects_of(bucket: str, server: Mapping[str, str]) -> list[ObjectMeta]:
    """All objects of a bucket: ``path``, ``size``, ``e_tag``."""
    from obstore.store import S3Store

    store = S3Store(
        bucket,
        endpoint=server["AWS_ENDPOINT_URL"],
        region=server["AWS_REGION"],
        access_key_id=server["AWS_ACCESS_KEY_ID"],
        secret_access_key=server["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
    )
    return [item for page in store.list() for item in page]


def _listed(task: Task) -> dict[str, int]:
    assert task.bucket
    return {item["path"]: item["size"] for item in objects_of(task.bucket, task.server)}
