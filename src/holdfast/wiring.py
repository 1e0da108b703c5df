"""Settings to objects: the only place that chooses an implementation of a seam."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

from holdfast.cache.assets import AssetsDir
from holdfast.clock import SystemClock
from holdfast.config import Settings, load
from holdfast.errors import HoldfastError, UnreachableError, UsageError
from holdfast.model.version import scheme_named
from holdfast.store.absent import absent_store, none_set
from holdfast.upkeep import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdfast.catalog.base import Catalog, Published
    from holdfast.model.result import Progress
    from holdfast.model.version import VersionScheme
    from holdfast.remote import Remote, Server
    from holdfast.store.base import Store
    from holdfast.store.mountpoint import MountPoint

__all__ = ["open", "open_project", "open_server", "open_settings", "open_store", "store_place"]

_memory: dict[str, Store] = {}


def open(  # noqa: A001 - interface.md names it: holdfast.open(...)
    store: str | None = None,
    *,
    profile: str | None = None,
    assets_dir: Path | str | None = None,
    storage_prefix: str | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
    limit_rate: int | None = None,
    offline: bool = False,
) -> Repository:
    """Open the repository of a store.

    Args:
        store: a store URL (``s3://bucket/prefix``, ``gs://``, ``az://``, ``file:///folder``, ``memory://name``); else from the
            settings.
        profile: the profile of settings to use.
        assets_dir: where fetched versions go; else from the settings.
        storage_prefix: replaces the prefix of the store's URL.
        progress: whoever wants to show how far a transfer is.
        jobs: how many requests at a time; 16 unless told.
        limit_rate: bytes a second, over all of them.
        offline: open it even where no store is set, for ``fetch(..., offline=True)``; what needs one then raises UsageError.

    Raises:
        UsageError: no store is set, or the URL is none.
    """
    arguments: Mapping[str, object] = {"store": store, "assets_dir": assets_dir, "storage_prefix": storage_prefix}
    settings = load(arguments, profile=profile)
    return open_settings(settings, progress=progress, jobs=jobs, limit_rate=limit_rate, offline=offline)


def open_settings(
    settings: Settings,
    *,
    progress: Progress | None = None,
    jobs: int | None = None,
    limit_rate: int | None = None,
    offline: bool = False,
) -> Repository:
    """The repository that these settings describe; one for what is cached where none is set and ``offline`` is."""
    if settings.store is None and not offline:
        raise none_set()
    if settings.store is not None and settings.store.startswith(("http://", "https://")):
        remote = open_project(settings.store, settings)
        mount = _mount_of_project(remote, settings)
        if mount is not None:
            return _open_mounted(mount, lambda: remote, settings, progress=progress, jobs=jobs, limit_rate=limit_rate)
        return _open_remote(remote, settings, progress=progress, jobs=jobs, limit_rate=limit_rate)
    if settings.store is not None and settings.server is not None and settings.mounts:
        mount = _mounted(settings.store, settings)
        if mount is not None and not _is_atomic(mount, settings):
            find = _project_finder(mount.url, settings.server, settings)
            return _open_mounted(mount, find, settings, progress=progress, jobs=jobs, limit_rate=limit_rate)
    store = absent_store() if settings.store is None else open_store(settings.store, settings)
    return open_on(store, settings, progress=progress, jobs=jobs, limit_rate=limit_rate)


def open_on(
    store: Store,
    settings: Settings,
    *,
    progress: Progress | None = None,
    jobs: int | None = None,
    limit_rate: int | None = None,
) -> Repository:
    """A repository on a store that is open already."""
    from holdfast.catalog.bucket import BucketCatalog

    clock, who = SystemClock(), _who()
    catalog = BucketCatalog(store, clock, who, _scheme_set(settings))
    return _repository(store, catalog, settings, who, clock, progress=progress, jobs=jobs, limit_rate=limit_rate)


def _open_remote(
    remote: Remote, settings: Settings, *, progress: Progress | None, jobs: int | None, limit_rate: int | None
) -> Repository:
    """The server's door: its catalog, and the bucket by URLs that it signs."""
    from holdfast.catalog.remote import RemoteCatalog
    from holdfast.store.signed import SignedStore

    store, clock = SignedStore(remote), SystemClock()
    catalog = RemoteCatalog(remote, clock, _scheme_set(settings), store.offer)
    return _repository(store, catalog, settings, _who(), clock, progress=progress, jobs=jobs, limit_rate=limit_rate)


def open_project(url: str, settings: Settings) -> Remote:
    """A project on a server, by ``https://host/project``, with the token for that server. Nothing is asked yet.

    Raises:
        UsageError: the URL names no project.
    """
    from holdfast.remote import Pushes, Remote

    address, _, name = url.rstrip("/").rpartition("/")
    if not name or not urlsplit(address).hostname:
        hint = "it reads like https://host/project; asset project list tells the projects"
        raise UsageError(f"{url!r} names no project on a server", subject=url, hint=hint)
    return Remote(open_server(address, settings), unquote(name), Pushes())


def open_server(url: str, settings: Settings, *, signed_in: bool = True) -> Server:
    """A server, with the token for it where there is one and ``signed_in`` is set. Nothing is asked yet."""
    from holdfast.config.tokens import token_for
    from holdfast.remote import Server

    if not signed_in:
        return Server(url, ca=settings.certificates)
    return Server(url, token_for(settings, url), ca=settings.certificates, tokens=lambda: token_for(settings, url))


def _scheme_set(settings: Settings) -> VersionScheme | None:
    """The scheme of new assets, where it was set."""
    return None if settings.origins.get("versioning") == "default" else scheme_named(settings.versioning)


def _repository(
    store: Store,
    catalog: Catalog,
    settings: Settings,
    who: str,
    clock: SystemClock,
    *,
    progress: Progress | None,
    jobs: int | None,
    limit_rate: int | None,
) -> Repository:
    from holdfast.transfer.engine import Engine

    _refuse_overlap(getattr(store, "mount", None) or store.url, settings.assets_dir)
    if "assets_dir" not in settings.origins or settings.origins["assets_dir"] == "default":
        settings.assets_dir.mkdir(parents=True, exist_ok=True)
    return Repository(
        store,
        catalog,
        Engine(jobs, limit_rate, progress),
        AssetsDir(settings.assets_dir, limit=settings.cache_max_size, keep_free=settings.cache_keep_free),
        clock=clock,
        who=who,
        state=settings.cache_dir,
        place=store_place(store.url, settings),
        scheme=scheme_named(settings.versioning),
        patience=settings.cache_timeout,
    )


def open_store(url: str, settings: Settings) -> Store:
    """The store at a URL.

    Raises:
        UsageError: a scheme that no store has, or a URL without a folder or bucket.
    """
    if settings.mounts and (mounted := _mounted(url, settings)) is not None:
        return _mounted_store(mounted, settings)
    scheme = url.partition("://")[0]
    if scheme == "file":
        from holdfast.store.path import PathStore

        folder = _folder_of(url)
        if "MODELKIT_STORAGE" in settings.origins.get("store", "") and folder.parent.is_dir():
            folder.mkdir(exist_ok=True)  # as in modelkit, the bucket must exist, and the prefix is made
        return PathStore(folder)
    if scheme == "memory":
        from holdfast.store.memory import MemoryStore

        return _memory.setdefault(url, MemoryStore(url.partition("://")[2]))
    if scheme in ("s3", "gs", "gcs", "az"):
        from holdfast.store.bucket import BucketStore
        from holdfast.store.settings import bucket_settings

        described = bucket_settings(url, settings.environ, **settings.bucket_options())
        return BucketStore(described, probe_cache=settings.cache_dir / "probes.json")
    from holdfast.config.schemes import opener

    if (opened := opener(scheme)) is not None:
        return cast("Store", opened(url, settings))
    hint = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, file:///folder or memory://name"
    raise UsageError(f"no store has URLs like {url!r}", subject=url, hint=hint)


def _mounted(url: str, settings: Settings) -> MountPoint | None:
    """Where the store lies below a mount, by its URL or its path; None where no mount covers it."""
    from holdfast.config.mounts import mount_of, url_of
    from holdfast.store.mountpoint import MountPoint, followed

    seconds = settings.mount_timeout
    if url.startswith("file://"):
        roots = {known: followed(path, seconds) for known, path in settings.mounts.items()}
        url = url_of(followed(str(_folder_of(url)), seconds), roots) or ""
    covered = mount_of(url, settings.mounts)
    return None if covered is None else MountPoint(covered.url, covered.root, covered.folder, seconds)


def _is_atomic(mount: MountPoint, settings: Settings) -> bool:
    """Whether its file system creates a file only if it is absent: as set, else as its type is known for."""
    return mount.file_system.is_atomic if settings.mount_atomic is None else settings.mount_atomic


def _mounted_store(mount: MountPoint, settings: Settings) -> Store:
    """A mount without a server: a directory store where its file system creates atomically, else one that is only read."""
    from holdfast.store.mount import MountStore
    from holdfast.store.mountpath import MountPath

    if _is_atomic(mount, settings):
        return MountPath(mount, sure=settings.mount_atomic is True)
    return MountStore(mount)


def _mount_of_project(remote: Remote, settings: Settings) -> MountPoint | None:
    """Where the bucket of a project is mounted; the server is asked for the bucket once, and it is remembered."""
    if not settings.mounts:
        return None
    from holdfast.cache.projects import Projects
    from holdfast.formats.api import StoreReply

    projects = Projects(settings.cache_dir)
    url = projects.find(remote.url)
    if url is None:
        try:
            url = remote.ask("GET", "store", StoreReply).url
        except HoldfastError:  # it is told when the store is used
            return None
        projects.remember(remote.url, url)
    return None if url.startswith("file:") else _mounted(url, settings)


def _project_finder(bucket: str, server: str, settings: Settings) -> Callable[[], Remote]:
    """Finds the project whose store lies at a bucket URL, when it is first asked."""
    from functools import cache

    @cache
    def find() -> Remote:
        from holdfast.config.mounts import normal_url
        from holdfast.formats.api import ProjectReply
        from holdfast.remote import Pushes, Remote

        known = open_server(server, settings)
        for project in known.ask("GET", "projects", list[ProjectReply]):
            if normal_url(project.url) == bucket:
                return Remote(known, project.name, Pushes())
        raise UnreachableError(
            f"no project on {server} that you have a role in has its store at {bucket}",
            subject=bucket,
            hint="asset project list tells the projects; without one, a mounted bucket is only read",
        )

    return find


def _open_mounted(
    mount: MountPoint,
    remote: Callable[[], Remote],
    settings: Settings,
    *,
    progress: Progress | None,
    jobs: int | None,
    limit_rate: int | None,
) -> Repository:
    """A mount with a server: read below the mount, written by the server; what the mount shows alone while the server is silent."""
    from holdfast.cache.projects import Projects
    from holdfast.catalog.bucket import BucketCatalog
    from holdfast.catalog.mounted import MountedCatalog
    from holdfast.catalog.remote import RemoteCatalog
    from holdfast.model.spec import AssetSpec
    from holdfast.store.far import Far
    from holdfast.store.mount import MountStore
    from holdfast.store.signed import SignedStore
    from holdfast.store.staged import StagedStore, prove

    signed = Far(lambda: SignedStore(remote(), streamed=True))
    catalog = Far(lambda: RemoteCatalog(remote(), clock, _scheme_set(settings)), beside=signed)

    def proved(store: MountStore) -> None:
        try:
            prove(store, lambda: signed.ask(lambda far: far.told))
        except HoldfastError:
            with suppress(HoldfastError):
                Projects(settings.cache_dir).forget(remote().url)
            raise

    def near_resolved(text: str) -> tuple[str, Published]:
        spec = AssetSpec.parse(text)
        version = near.resolver.resolve(spec)
        return version, near.resolver.published(spec.name, version)

    who, clock = _who(), SystemClock()
    near_store = MountStore(mount, None, proved)
    near_catalog = BucketCatalog(near_store, clock, who, _scheme_set(settings))
    near = _repository(near_store, near_catalog, settings, who, clock, progress=None, jobs=jobs, limit_rate=None)
    return _repository(
        StagedStore(mount, signed, remote, proved),
        MountedCatalog(catalog, near_catalog, near_resolved, near.list),
        settings,
        who,
        clock,
        progress=progress,
        jobs=jobs,
        limit_rate=limit_rate,
    )


def store_place(url: str, settings: Settings) -> str:
    """The store's URL with the endpoint, where one is set: two clouds may have buckets of one name."""
    elsewhere = url.startswith(("file:", "memory:", "http:", "https:"))
    return f"{url}@{settings.endpoint}" if settings.endpoint and not elsewhere else url


def _folder_of(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise UsageError(f"{url!r} names no folder", subject=url, hint="file:///absolute/path")
    return Path(unquote(parts.path))


def _refuse_overlap(place: str | MountPoint, assets_dir: Path) -> None:
    """A store inside the assets folder, or the other way round, would be eaten by it (faults W2 and #105 of modelkit)."""
    if isinstance(place, str) and not place.startswith("file://"):
        return
    if isinstance(place, str):
        store, assets = _folder_of(place).resolve(), assets_dir.resolve()
    else:  # a mount may hang: what it is compared with is not looked up
        store, assets = Path(place.folder), Path(os.path.abspath(assets_dir))
    if store.is_relative_to(assets) or assets.is_relative_to(store):
        raise UsageError(
            f"the store {store} and assets_dir {assets} overlap",
            subject=str(store),
            hint="set assets_dir to another folder",
        )


def _who() -> str:
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
