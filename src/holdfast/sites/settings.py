"""Reads a site's settings, from ``site.toml`` or from a template with the seed's names, into :class:`SiteSettings`.

What a value may look like is judged here, and what cannot be is told by its setting; which settings go together is
:mod:`holdfast.sites.plan`'s affair. Nothing is run, and no store is asked. Example::

    settings, problems = read_file(Path("site.toml"))
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from holdfast.config.keys import parse_size
from holdfast.errors import LocalError, UsageError, nearest
from holdfast.sites.directories import split_list
from holdfast.sites.operations import read_copies, read_max_delete, read_notify, read_run, seconds
from holdfast.sites.template import parse_template
from holdfast.sites.values import PERIODS, Command, Problem, SiteSettings, StoreSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["KEEP_RULES", "from_table", "from_template", "read_file", "read_template"]

#: What a period may keep: so many of the newest, or the newest of so many hours, days and so on.
KEEP_RULES: Final = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
#: The seed's names, of all its generations: where two of one row are given, they must say the same.
_SEED: Final[dict[str, tuple[str, ...]]] = {
    "persist_assets_to_cloud": (
        "PERSIST_ASSETS_TO_CLOUD",
        "PERSIST_ASSETS_TO_DATASTORE",
        "PERSISTASSETSTOCLOUD",
        "PERSISTASSETSTODATASTORE",
    ),
    "directories_to_mount": ("DIRECTORIES_TO_MOUNT", "DIRECTORIESTOMOUNT"),
    "sync_webroots": ("SYNC_WEBROOTS", "SYNCWEBROOTS"),
    "build": ("BUILD_ARCHIVE_CHOICE", "BUILDARCHIVECHOICE"),
    "application": ("APPLICATION",),
    "site_url": ("WEBSITE_URL", "WEBSITEURL"),
    "display_name": ("WEBSITE_DISPLAY_NAME", "WEBSITEDISPLAYNAME"),
    "mounter": ("DATASTOREMOUNTTOOL", "DATASTORE_MOUNT_TOOL"),
    "webroot": ("HOLDFAST_WEBROOT",),
    "state": ("HOLDFAST_STATE",),
}
_MOUNT_TOOLS: Final = {"goof": "goofys"}
_CHAINED: Final = {
    "S3_HOST_BASE": "endpoint",
    "S3_ACCESS_KEY": "access_key",
    "S3_SECRET_KEY": "secret_key",
    "S3_LOCATION": "region",
}


def read_file(path: Path) -> tuple[SiteSettings, list[Problem]]:
    """The settings in a ``site.toml``, and what is wrong with them.

    Raises:
        LocalError: it cannot be read.
        UsageError: it is not TOML.
    """
    try:
        table = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", subject=str(path), hint="correct it") from None
    return from_table(table)


def read_template(path: Path) -> tuple[SiteSettings, list[Problem], list[Problem]]:
    """The settings in a template, what is wrong with them, and what is worth a warning; raises as :func:`parse_template`."""
    return from_template(parse_template(_text(path)))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        hint = "asset site init writes one, --file and --template name another"
        raise LocalError(f"there is no {path}", subject=str(path), hint=hint) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text: {error}", subject=str(path)) from None
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", subject=str(path)) from error


def from_table(table: Mapping[str, Any]) -> tuple[SiteSettings, list[Problem]]:
    """The settings in a table; one that cannot be keeps its default and is told."""
    problems: list[Problem] = []
    found: dict[str, Any] = {}
    for name, value in table.items():
        known = _KEYS.get(name)
        if known is None:
            hint = nearest(name, list(_KEYS)) or "asset site init writes a file with all of them"
            problems.append(Problem(name, f"unknown setting: {hint}"))
            continue
        attribute, read = known
        try:
            found[attribute] = read(value)
        except ValueError as error:
            problems.append(Problem(name, str(error)))
    names = {attribute: name for name, (attribute, _) in _KEYS.items() if name in table}
    return SiteSettings(
        **found, names={"persist": "persist_assets_to_cloud", "directories": "directories_to_mount"} | names
    ), problems


def from_template(values: Mapping[str, str]) -> tuple[SiteSettings, list[Problem], list[Problem]]:
    """The settings among a template's names; others are none of ours."""
    table: dict[str, Any] = {}
    names: dict[str, str] = {}
    problems: list[Problem] = []
    for key, seeds in _SEED.items():
        given = {seed: values[seed] for seed in seeds if seed in values}
        if not given:
            continue
        first, text = next(iter(given.items()))
        if len(set(given.values())) > 1:
            problems.append(Problem(first, f"{' and '.join(given)} contradict each other"))
        names[_KEYS[key][0]] = first
        table[key] = _seed_value(key, text)
    settings, wrong = from_table(table)
    renamed = {key: names.get(_KEYS[key][0], key) for key in _KEYS}
    problems += [Problem(renamed.get(each.setting, each.setting), each.message) for each in wrong]
    stores, refused, warnings = _seed_stores(values, settings)
    return (
        replace(settings, stores=stores, names={**settings.names, **names, "stores": "S3_HOST_BASE"}),
        problems + refused,
        warnings,
    )


def _seed_value(key: str, text: str) -> object:
    if key == "mounter":
        tool = text.partition(":")[0]
        return _MOUNT_TOOLS.get(tool, tool)
    if key == "display_name":
        return text.replace("_", " ")
    return text


def _seed_stores(
    values: Mapping[str, str], settings: SiteSettings
) -> tuple[tuple[StoreSettings, ...], list[Problem], list[Problem]]:
    """The stores of a template: position n of each chained value describes store n; ``HOLDFAST_STORES`` are their URLs."""
    warnings: list[Problem] = []
    chains = {name: _chain(values[name]) for name in _CHAINED if values.get(name)}
    hosts = values.get("S3_HOST_BASE", "")
    if "|" not in hosts and ":" in hosts and not re.fullmatch(r"[^:]+:\d+", hosts):
        chains["S3_HOST_BASE"] = tuple(hosts.split(":"))
        warnings.append(
            Problem("S3_HOST_BASE", "hosts are chained with '|'; ':' is understood, but ports are not then")
        )
    urls = _chain(values["HOLDFAST_STORES"]) if values.get("HOLDFAST_STORES") else ()
    count = len(urls) or len(chains.get("S3_HOST_BASE", ()))
    for name, chain in chains.items():
        if len(chain) not in (count, 1 if name == "S3_LOCATION" else count):
            wrong = f"has {len(chain)} values where there are {count} stores: each store needs one, in the same order"
            return (), [Problem(name, wrong)], warnings
    stem = settings.site_url.replace(".", "-")
    stores = []
    for at in range(count):
        part = {_CHAINED[name]: chain[at if at < len(chain) else 0] for name, chain in chains.items()}
        url = urls[at] if urls else f"s3://{stem}-holdfast"
        stores.append(_seed_store(url, part))
    return tuple(stores), [], warnings


def _seed_store(url: str, part: Mapping[str, str]) -> StoreSettings:
    keys = {"AWS_ACCESS_KEY_ID": part.get("access_key", ""), "AWS_SECRET_ACCESS_KEY": part.get("secret_key", "")}
    host = part.get("endpoint")
    endpoint = host if host is None or "://" in host else f"https://{host}"
    return StoreSettings(url, endpoint, part.get("region"), keys=keys if all(keys.values()) else {})


def _chain(text: str) -> tuple[str, ...]:
    return tuple(piece.strip() for piece in text.split("|"))


# what a value may look like


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")  # noqa: TRY004 - one kind of complaint for all of them
    return value.strip()


def _switch(value: Any) -> bool:
    if value in (True, False, "0", "1"):  # 0 and 1 are equal to them
        return value in (True, "1")
    raise ValueError(f"{value!r} is neither 0 nor 1")


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{value!r} is no list of texts")
    return tuple(value)


def _directories(value: Any) -> tuple[str, ...]:
    return split_list(value) if isinstance(value, str) else _words(value)


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError("is no table of texts")
    return dict(value)


def _size(value: Any) -> int:
    try:
        return parse_size(value)
    except UsageError as error:
        raise ValueError(error.message) from None


def _patience(value: Any) -> float:
    patience = seconds(value)
    if patience < 10:
        raise ValueError("is shorter than 10 seconds, in which no store could be asked again")
    return patience


def _absolute(value: Any) -> str:
    path = _word(value)
    if (
        not path.startswith("/")
        or path.rstrip("/") == ""
        or any(each in ("", ".", "..") for each in path.strip("/").split("/"))
    ):
        raise ValueError(f"{path!r} is no absolute path of a folder, without '.' and '..'")
    return path.rstrip("/")


def _stores(value: Any) -> tuple[StoreSettings, ...]:
    if isinstance(value, str):
        return (StoreSettings(value),)
    if not isinstance(value, list) or not value:
        raise ValueError("is no list of stores: one [[stores]] for each, with its url")
    return tuple(_store(each) for each in value)


def _store(value: Any) -> StoreSettings:
    table = _texts({"url": value} if isinstance(value, str) else value)
    unknown = sorted(table.keys() - {"url", "endpoint", "region", "profile", "credentials"})
    if unknown or "url" not in table:
        raise ValueError(
            f"a store has url, endpoint, region, profile and credentials, not {unknown[0]!r}"
            if unknown
            else "a store has no url"
        )
    return StoreSettings(
        table["url"], table.get("endpoint"), table.get("region"), table.get("profile"), table.get("credentials")
    )


def _commands(value: Any) -> tuple[Command, ...]:
    if not isinstance(value, list):
        raise ValueError("is no list of commands")  # noqa: TRY004
    return tuple(_command(each) for each in value)


def _command(value: Any) -> Command:
    table = {"run": value} if isinstance(value, list) else value
    if not isinstance(table, dict) or not isinstance(table.get("run"), list):
        raise ValueError(  # noqa: TRY004
            'a command is a list, ["program", "argument"], or a table with such a list as run: there is no shell'
        )
    run = _words(table["run"])
    unknown = sorted(table.keys() - {"run", "deadline", "into"})
    if not run or not run[0] or unknown:
        raise ValueError(
            f"a command has run, deadline and into, not {unknown[0]!r}" if unknown else "a command is empty"
        )
    into = table.get("into")
    if into is not None and (not isinstance(into, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", into)):
        raise ValueError(f"into is {into!r}: it is the name of a file, without a folder")
    return Command(run, seconds(table.get("deadline", "1h")), into)


def _keep(value: Any) -> dict[str, dict[str, int]]:
    if not isinstance(value, dict):
        raise ValueError("is no table: [keep.hourly], [keep.daily] and so on")  # noqa: TRY004
    for period, rules in value.items():
        if period not in PERIODS or not isinstance(rules, dict):
            raise ValueError(f"{period!r} is no period with a table of rules: {', '.join(PERIODS)}")
        for rule, count in rules.items():
            if rule not in KEEP_RULES or isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(f"{period}.{rule} = {count!r}: rules are {', '.join(KEEP_RULES)}, each at least 1")
    return {period: dict(rules) for period, rules in value.items()}


#: Setting → attribute, and how its value is read; the order is that of the file that ``asset site init`` writes.
_KEYS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "site_url": ("site_url", _word),
    "display_name": ("display_name", _word),
    "webroot": ("webroot", _absolute),
    "application": ("application", _word),
    "build": ("build", _word),
    "persist_assets_to_cloud": ("persist", _switch),
    "directories_to_mount": ("directories", _directories),
    "legacy_dots": ("legacy_dots", _switch),
    "sync_webroots": ("sync_webroots", _switch),
    "mounter": ("mounter", _word),
    "web_user": ("web_user", _word),
    "absolute_roots": ("absolute_roots", _words),
    "buckets": ("buckets", _texts),
    "config_file": ("config_file", _word),
    "local": ("local", _words),
    "exclude": ("exclude", _words),
    "state": ("state", _absolute),
    "lease": ("lease", _patience),
    "gap": ("gap", seconds),
    "quota": ("quota", _size),
    "stores": ("stores", _stores),
    "before_backup": ("before_backup", _commands),
    "after_restore": ("after_restore", _commands),
    "keep": ("keep", _keep),
    "copies": ("copies", read_copies),
    "keep_deleted": ("keep_deleted", seconds),
    "max_delete": ("max_delete", read_max_delete),
    "notify": ("notify", read_notify),
    "run": ("run", read_run),
}
