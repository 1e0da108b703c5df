"""A push through a driver of the user's own, in modelkit's order: data, meta, versions.

A driver has no conditional writes, so this is the one push without a promise: two at once can lose a version, as in modelkit,
and a warning says so. What can be kept is: nothing that exists is written over, a push that died is done again by running it
again (fault W7), and the meta has the digests by which every fetch is verified.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import warnings
from typing import TYPE_CHECKING

from holdfast.cache.tree import check_source, hash_file, scan
from holdfast.clock import SystemClock
from holdfast.errors import (
    AlreadyExistsError,
    AssetNotFoundError,
    InvalidVersionError,
    ObjectNotFoundError,
    UnsupportedError,
    VersionNotFoundError,
)
from holdfast.formats import layout as keys
from holdfast.formats.convention import Meta, encode_meta, encode_versions
from holdfast.model.manifest import Manifest
from holdfast.model.name import check_new, check_readable
from holdfast.model.version import all_schemes
from holdfast.transfer.plan import check_tree_names, plan_objects

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.cache.tree import Scanned
    from holdfast.catalog.base import Listed, Published
    from holdfast.modelkit.foreign import DriverStore
    from holdfast.repository import Repository

__all__ = ["UnprotectedPushWarning", "push"]


class UnprotectedPushWarning(UserWarning):
    """A push through a driver that cannot keep two writers apart."""


def push(
    store: DriverStore,
    repository: Repository,
    source: Path,
    name: str,
    version: str,
    *,
    only: str | None,
    listed: bool,
    layout: str,
    dry_run: bool,
) -> None:
    """Push one version; ``only`` is ``new``, ``update`` or None as in modelkit's three writers.

    Raises:
        AlreadyExistsError, AssetNotFoundError, InvalidVersionError: as any push.
        UnsupportedError: the layout is an archive, or packs.
    """
    if layout in ("tar.gz", "packs"):
        raise UnsupportedError(f"layout {layout} needs a built-in driver", subject=layout, hint="push it as tree")
    there = repository.catalog.listed(name)
    _check(name, version, there, only)
    found = scan(source)
    entries = [hash_file(item) if item.entry.kind == "file" else item.entry for item in found]
    manifest = Manifest.of(entries, single=source.is_file())
    if layout == "tree":
        check_tree_names(manifest, store.object_name(keys.data_key(name, version)))
    whole = _published(repository, name, version)
    if whole is not None and (not listed or whole.meta.hash != manifest.content_hash):
        raise AlreadyExistsError(f"{name}:{version} exists", subject=f"{name}:{version}")
    if dry_run:
        return
    warnings.warn(
        f"{name}:{version} is pushed through {type(store.driver).__name__}, which has no conditional writes: "
        "two pushes at once can lose a version",
        UnprotectedPushWarning,
        stacklevel=4,
    )
    if whole is None:
        _send(store, name, version, {item.entry.path: item for item in found}, manifest, layout)
        _send_bytes(store, keys.meta_key(name, version), encode_meta(_meta(manifest, layout, listed=listed)))
    if listed:
        versions = there.ordered({*there.versions, version})
        _send_bytes(store, keys.versions_key(name), encode_versions(versions))


def _check(name: str, version: str, there: Listed, only: str | None) -> None:
    check_readable(name)
    schemes = all_schemes()
    if there.token is None:
        check_new(name, schemes)
    known = there.scheme.is_full(version) or (not there.versions and any(s.is_full(version) for s in schemes.values()))
    if not known:
        raise InvalidVersionError(f"{version!r} is no full version ({there.scheme.name})", subject=version)
    if only == "new" and there.token is not None:
        raise AlreadyExistsError(f"asset {name!r} exists", subject=name, hint="add a version with update")
    if only == "update" and there.token is None:
        raise AssetNotFoundError(f"no asset {name!r} to update", subject=name, hint="create it with new")
    if version in there.versions:
        raise AlreadyExistsError(f"{name}:{version} exists", subject=f"{name}:{version}")


def _published(repository: Repository, name: str, version: str) -> Published | None:
    """The version, where an earlier push came as far as its meta."""
    try:
        return repository.catalog.published(name, version)
    except (VersionNotFoundError, ObjectNotFoundError):
        return None


def _send(
    store: DriverStore, name: str, version: str, scanned: dict[str, Scanned], manifest: Manifest, layout: str
) -> None:
    plan = plan_objects(name, version, layout, manifest.files)
    for item in (*plan.small, *plan.large):
        assert item.entry is not None  # noqa: S101 - only archives have none
        source = scanned[item.entry.path]
        check_source(source)
        store.upload(item.key, source.path)
        check_source(source)


def _send_bytes(store: DriverStore, key: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "object")
        with open(path, "wb") as file:
            file.write(data)
        store.upload(key, path)


def _meta(manifest: Manifest, layout: str, *, listed: bool) -> Meta:
    return Meta(
        pushed=SystemClock().now(),
        layout=layout,
        is_directory=not manifest.single,
        hash=manifest.content_hash,
        manifest=manifest,
        push=secrets.token_hex(16),
        listed=listed,
    )
