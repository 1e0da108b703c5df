"""The rules that a site's settings must keep, each with the sentence that explains it. Pure.

A rule yields what it refuses as :class:`Problem`, by the name of the setting as the operator wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from holdfast.errors import nearest
from holdfast.sites.applications import APPLICATIONS
from holdfast.sites.directories import WHOLE, Item, overlaps, parse_item, place_of
from holdfast.sites.names import WEBROOT, alternative, bucket_of, collisions, site_of, why_illegal
from holdfast.sites.values import BUILDS, MOUNTERS, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from holdfast.sites.applications import Application
    from holdfast.sites.values import SiteSettings

__all__ = ["RULES", "Judged", "buckets_of", "judge"]

#: Mounters that cannot rename or overwrite what is there, which a whole application needs.
_WRITE_ONCE: Final = frozenset(("mount-s3",))
#: The system's directories: none of them, and nothing below the first kind, is ever mounted over.
_SYSTEM_TREES: Final = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
)  # fmt: skip
_SYSTEM: Final = (
    "/",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/srv",
    "/tmp",  # noqa: S108 - a name to refuse
    "/var",
    "/var/lib",
    "/var/log",
    "/var/tmp",  # noqa: S108
    "/var/www",
)
_SCHEMES: Final = ("s3", "gs", "gcs", "az", "file", "memory")


@dataclass(frozen=True, slots=True)
class Case:
    """What a rule looks at: the items are those that could be read, the application's own where none is listed."""

    settings: SiteSettings
    application: Application
    items: tuple[Item, ...]
    unread: tuple[str, ...]
    site: str
    backup: str | None
    directories: frozenset[str] | None

    def problem(self, key: str, message: str) -> Problem:
        """A problem with the setting that was read as ``key``."""
        return Problem(self.settings.called(key), message)

    @property
    def mounted(self) -> tuple[Item, ...]:
        """What would be mounted."""
        return self.items if self.settings.persist else ()


@dataclass(frozen=True, slots=True)
class Judged:
    """The items, what refuses them, what is worth a warning, and the names of the rules that refuse."""

    items: tuple[Item, ...]
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    refused: frozenset[str]


def judge(
    settings: SiteSettings, application: Application, backup: str | None, directories: frozenset[str] | None
) -> Judged:
    """Judge every rule."""
    listed = settings.directories or application.media
    parsed = [
        parse_item(text, webroot=settings.webroot, legacy_dots=settings.legacy_dots and bool(settings.directories))
        for text in listed
    ]
    case = Case(
        settings,
        application,
        tuple(each for each in parsed if isinstance(each, Item)),
        tuple(each for each in parsed if isinstance(each, str)),
        site_of(settings.site_url) or "site",
        backup,
        directories,
    )
    found = {name: tuple(rule(case)) for name, (_, rule) in RULES.items()}
    errors = tuple(problem for problems in found.values() for problem in problems)
    return Judged(case.items, errors, tuple(_warnings(case)), frozenset(name for name, each in found.items() if each))


def _address(case: Case) -> Iterator[Problem]:
    if site_of(case.settings.site_url) is None:
        yield case.problem("site_url", f"{case.settings.site_url!r} is no host name in small letters: www.example.com")


def _build(case: Case) -> Iterator[Problem]:
    if case.settings.build not in BUILDS:
        hint = nearest(case.settings.build, list(BUILDS)) or f"one of {', '.join(BUILDS)}"
        yield case.problem("build", f"{case.settings.build!r} is nothing that a site is built from: {hint}")


def _application(case: Case) -> Iterator[Problem]:
    if case.settings.application not in APPLICATIONS:
        hint = nearest(case.settings.application, list(APPLICATIONS)) or f"one of {', '.join(APPLICATIONS)}"
        yield case.problem("application", f"{case.settings.application!r} is not known: {hint}")


def _mounter(case: Case) -> Iterator[Problem]:
    mounter = case.settings.mounter
    if mounter not in MOUNTERS:
        yield case.problem(
            "mounter", f"{mounter!r} is not known: {nearest(mounter, list(MOUNTERS)) or ', '.join(MOUNTERS)}"
        )


def _ladder(case: Case) -> Iterator[Problem]:
    build = case.settings.build
    if case.settings.persist and build in ("virgin", "baseline"):
        yield case.problem("persist", f"must be 0 with a {build} build: only a backup has media to put into buckets")


def _named(case: Case) -> Iterator[Problem]:
    if case.settings.persist and not case.items and not case.unread:
        yield case.problem(
            "directories",
            f"names no directory, and {case.settings.application!r} has none of its own: nothing would be mounted",
        )


def _paths(case: Case) -> Iterator[Problem]:
    if case.settings.persist:
        yield from (case.problem("directories", text) for text in case.unread)


def _overlap(case: Case) -> Iterator[Problem]:
    for one, other in overlaps(case.mounted, case.settings.webroot):
        what = "are the same directory" if one.path == other.path else "lie in each other"
        yield case.problem("directories", f"{one.text!r} and {other.text!r} {what}: each needs a place of its own")
    root = case.settings.webroot + "/"
    for item in case.mounted:
        if item.path.startswith("/") and root.startswith(item.path + "/"):
            yield case.problem("directories", f"{item.text!r} holds the webroot {case.settings.webroot}")


def _roots(case: Case) -> Iterator[Problem]:
    for item in case.mounted:
        if not item.path.startswith("/"):
            continue
        if _is_system(item.path):
            yield case.problem(
                "directories", f"{item.text!r} is a directory of the system, which is never mounted over"
            )
        elif not any(item.path.startswith(root.rstrip("/") + "/") for root in case.settings.absolute_roots):
            roots = ", ".join(case.settings.absolute_roots) or "none"
            yield case.problem("directories", f"{item.text!r} lies in no folder of absolute_roots ({roots})")


def _is_system(path: str) -> bool:
    return path in _SYSTEM or any(f"{path}/".startswith(f"{tree}/") for tree in _SYSTEM_TREES)


def _webroot(case: Case) -> Iterator[Problem]:
    if _is_system(case.settings.webroot):
        yield case.problem("webroot", f"{case.settings.webroot!r} is a directory of the system")


def _kept_local(case: Case) -> Iterator[Problem]:
    own = [path for path in (case.settings.config_file or case.application.config_file,) if path]
    for item in case.mounted:
        if item.is_whole:
            continue
        for path in own:
            if f"{path}/".startswith(f"{item.path}/"):
                yield case.problem("directories", f"{item.text!r} holds {path}, which has secrets of this machine")


def _whole(case: Case) -> Iterator[Problem]:
    if any(item.is_whole for item in case.mounted) and case.settings.mounter in _WRITE_ONCE:
        yield case.problem(
            "mounter",
            f"{case.settings.mounter} can neither rename nor overwrite, which a whole webroot needs: use rclone",
        )


def _buckets(case: Case) -> Iterator[Problem]:
    names: dict[str, str] = {}
    items: dict[str, Item] = {}
    for item in case.mounted:
        for at, bucket in enumerate(buckets_of(case.site, item, case.settings.buckets), 1):
            label = f"{item.text} ({at})" if item.merged else item.text
            names[label], items[label] = bucket, item
            wrong = why_illegal(bucket)
            if wrong is not None:
                yield case.problem(
                    "directories", f"{item.text!r} would get the bucket {bucket!r}, which {wrong}; {_other(case, item)}"
                )
    for one, other, bucket in collisions(names):
        where = _other(case, items[other])
        yield case.problem("directories", f"{one!r} and {other!r} would share the bucket {bucket!r}; {where}")


def buckets_of(site: str, item: Item, chosen: Mapping[str, str]) -> tuple[str, ...]:
    """The buckets of a directory: the original's names, or those that the settings give it."""
    name = chosen.get(item.path or WHOLE)
    if not item.merged:
        return (name or bucket_of(site, item.path or WEBROOT),)
    return tuple(f"{name}{n}" if name else bucket_of(site, item.path, n) for n in range(1, item.branches + 1))


def _other(case: Case, item: Item) -> str:
    path = item.path or WHOLE
    return f'give it another: in [buckets], "{path}" = "{alternative(case.site, path)}"'


def _known_buckets(case: Case) -> Iterator[Problem]:
    known = {item.path or WHOLE for item in case.items}
    for directory in case.settings.buckets:
        if case.settings.persist and directory not in known:
            yield case.problem("buckets", f"{directory!r} is none of the directories that are mounted")


def _stores(case: Case) -> Iterator[Problem]:
    stores = case.settings.stores
    if not stores:
        yield case.problem("stores", "no store is named: [[stores]] with a url; the first is the one near the servers")
    for store in stores:
        scheme = urlsplit(store.url).scheme
        if scheme in ("http", "https"):
            yield case.problem("stores", f"{store.url!r} is a server: a site needs the buckets themselves")
        elif scheme not in _SCHEMES:
            yield case.problem("stores", f"{store.url!r} is no URL of a store: s3://bucket/prefix")
    places = [(store.url.rstrip("/"), store.endpoint) for store in stores]
    for place in sorted({place[0] for place in places if places.count(place) > 1}):
        yield case.problem("stores", f"{place!r} is named twice: a copy beside itself is none")


def _copies(case: Case) -> Iterator[Problem]:
    """A copy under a store would be taken for assets of it; one beside its bucket would go with it."""
    places = [store.url.rstrip("/") for store in case.settings.stores]
    for copy in case.settings.copies:
        url = copy.store.url.rstrip("/")
        if urlsplit(url).scheme not in _SCHEMES:
            yield case.problem("copies", f"{url!r} is no URL of a store: s3://bucket/prefix")
        elif any(f"{url}/".startswith(f"{place}/") or f"{place}/".startswith(f"{url}/") for place in places):
            yield case.problem(
                "copies", f"{url!r} and a store of backups lie in each other: copies need their own place"
            )


def _backup(case: Case) -> Iterator[Problem]:
    """A directory that the backup has not would make an empty bucket, and an empty bucket an empty site."""
    if case.directories is None or not case.settings.persist:
        return
    for item in case.items:
        if item.path and not item.path.startswith("/") and item.path not in case.directories:
            yield case.problem("directories", f"{item.text!r} is no directory of the backup {case.backup}")


def _local_inside(case: Case) -> Iterator[Problem]:
    for path in (*case.settings.local, *((case.settings.config_file,) if case.settings.config_file else ())):
        if path.startswith("/") or any(piece in ("", ".", "..") for piece in path.split("/")):
            key = "config_file" if path == case.settings.config_file else "local"
            yield case.problem(key, f"{path!r} is no path below the webroot")


#: Rule → its sentence, and what judges it; in the order in which they are told.
RULES: Final[dict[str, tuple[str, Callable[[Case], Iterator[Problem]]]]] = {
    "address": ("The site has an address, from which its buckets are named.", _address),
    "build": ("A site is built from a virgin application, a baseline, or a backup of one of the periods.", _build),
    "application": ("The application is one whose directories are known, or none.", _application),
    "mounter": ("The mounter is one of those that can be supervised.", _mounter),
    "webroot": ("The webroot is no directory of the system.", _webroot),
    "ladder": ("With a virgin or baseline build, media stay on the server: persist_assets_to_cloud is 0.", _ladder),
    "named": ("With persist_assets_to_cloud, at least one directory is mounted.", _named),
    "paths": ("Each directory is a plain path; merge=dirN ends in one digit, 1 to 9.", _paths),
    "overlap": ("No mounted directory lies in another.", _overlap),
    "roots": ("An absolute directory lies in one of absolute_roots, and is never one of the system.", _roots),
    "kept-local": ("The configuration file lies in no mounted directory.", _kept_local),
    "whole": ("A whole webroot needs a mounter that renames and overwrites.", _whole),
    "buckets": ("Each directory has a bucket of its own, with a name that every provider takes.", _buckets),
    "known-buckets": ("A bucket is chosen only for a directory that is mounted.", _known_buckets),
    "local": ("What stays local lies below the webroot.", _local_inside),
    "stores": ("There is at least one store, each named once; the first is the nearest.", _stores),
    "copies": ("Each copy of buckets has a place of its own, apart from the stores of backups.", _copies),
    "backup": ("Each mounted directory is in the backup that the site is built from.", _backup),
}


def _warnings(case: Case) -> Iterator[Problem]:
    settings = case.settings
    if not settings.persist and settings.directories:
        yield case.problem(
            "directories",
            "is ignored while persist_assets_to_cloud is 0: media are in every backup; exclude leaves out of backups",
        )
    if settings.legacy_dots and settings.directories:
        yield case.problem(
            "legacy_dots", "dots in directories_to_mount are read as slashes: write slashes, and set it to 0"
        )
    whole = any(item.is_whole for item in case.mounted)
    if whole and settings.mounter != "rclone" and settings.mounter not in _WRITE_ONCE:
        yield case.problem("mounter", f"only rclone is known to carry a whole webroot; {settings.mounter} may not")
    if whole and settings.sync_webroots:
        yield case.problem("sync_webroots", "has nothing to do while the whole webroot is mounted")
    if case.mounted and not whole and settings.mounter in _WRITE_ONCE:
        yield case.problem(
            "mounter", f"with {settings.mounter} the application can neither rename nor replace its media"
        )
    if case.mounted and settings.mounter == "goofys":
        yield case.problem("mounter", "goofys has had no release for years: geesefs is its successor")
    for item in case.mounted:
        place = place_of(item.path, settings.webroot)
        if item.path in (*settings.local, *case.application.local):
            yield case.problem("directories", f"{place} is also among what stays local")
