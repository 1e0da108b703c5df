"""Settings of what a site does by itself: copies elsewhere, who is told, what runs when. Pure: a value from TOML in, ours out.

Every function raises ValueError with what is wrong; who reads the file names the setting.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, Final
from urllib.parse import urlsplit

from holdfast.sites.values import PERIODS, CopySettings, MaxDelete, Notify, RunSettings, StoreSettings

__all__ = ["LEVELS", "read_copies", "read_max_delete", "read_notify", "read_run", "seconds"]

#: What a notice can be.
LEVELS: Final = ("ERROR", "INFO")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_STORE: Final = ("url", "endpoint", "region", "profile", "credentials")
#: Backups that happen by themselves.
_TIMED: Final = PERIODS[:5]
#: A job that is due again sooner would do nothing else.
_SHORTEST: Final = 5.0


def seconds(value: Any) -> float:
    """A length of time in seconds: ``90s``, ``10m``, ``2h``, ``30d``, or a number."""
    match = re.fullmatch(r"(\d+)([smhd]?)", str(value))
    if match is None or isinstance(value, bool):
        raise ValueError(f"{value!r} is no length of time: 90s, 10m, 2h")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def read_copies(value: Any) -> tuple[CopySettings, ...]:
    """``[[copies]]``: a store's settings, and ``two_way``."""
    found = tuple(_copy(table) for table in _tables(value, "copies"))
    urls = [each.store.url.rstrip("/") for each in found]
    if len(set(urls)) < len(urls):
        raise ValueError("two copies have one url")
    return found


def _copy(table: dict[str, Any]) -> CopySettings:
    _only(table, (*_STORE, "two_way"), "a copy")
    two_way = table.get("two_way", False)
    if two_way not in (True, False):
        raise ValueError(f"two_way is {two_way!r}, neither true nor false")
    texts = {name: text for name, text in table.items() if name != "two_way"}
    if "url" not in texts or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("a copy has a url, and all that is said of its store is text")
    return CopySettings(StoreSettings(**texts), two_way=bool(two_way))


def read_max_delete(value: Any) -> MaxDelete:
    """``{ percent = 5, objects = 50 }``; what is not said is as there."""
    if not isinstance(value, dict):
        raise ValueError("is no table: { percent = 5, objects = 50 }")  # noqa: TRY004 - one kind of complaint
    _only(value, ("percent", "objects"), "max_delete")
    percent, objects = value.get("percent", MaxDelete().percent), value.get("objects", MaxDelete().objects)
    if not _is_number(percent) or not 0 <= percent <= 100:
        raise ValueError(f"percent is {percent!r}, not 0 to 100")
    if not _is_number(objects) or not isinstance(objects, int) or objects < 0:
        raise ValueError(f"objects is {objects!r}, no number of objects")
    return MaxDelete(float(percent), objects)


def read_notify(value: Any) -> tuple[Notify, ...]:
    """``[[notify]]``: ``run``, a program with its arguments, or ``webhook``, an address; ``levels`` and ``deadline``."""
    return tuple(_notify(table) for table in _tables(value, "notify"))


def _notify(table: dict[str, Any]) -> Notify:
    _only(table, ("run", "webhook", "levels", "deadline"), "notify")
    run, webhook = table.get("run", []), table.get("webhook")
    if not isinstance(run, list) or not all(isinstance(word, str) for word in run):
        raise ValueError('run is a list, ["program", "argument"]: there is no shell')
    if bool(run) == (webhook is not None):
        raise ValueError("has either run, a program, or webhook, an address")
    if webhook is not None and not _is_address(webhook):
        raise ValueError("webhook is no address: https://host/path, or http:// of this machine")
    levels = table.get("levels", list(LEVELS))
    if not isinstance(levels, list) or not levels or not set(levels) <= set(LEVELS):
        raise ValueError(f"levels are of {' and '.join(LEVELS)}, not {levels!r}")
    deadline = seconds(table.get("deadline", "30s"))
    if deadline <= 0:
        raise ValueError("deadline is no time at all")
    return Notify(tuple(run), webhook, tuple(levels), deadline)


def _is_address(text: object) -> bool:
    """Plain HTTP would show everybody on the way what is said, and the key that is part of many such addresses."""
    if not isinstance(text, str):
        return False
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return False
    local = host in ("127.0.0.1", "::1", "localhost")
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and local))


def read_run(value: Any) -> RunSettings:
    """``[run]``: what runs by itself; what is not said is as in :class:`RunSettings`."""
    if not isinstance(value, dict):
        raise ValueError("is no table: [run]")  # noqa: TRY004 - as above
    _only(value, tuple(each.name for each in fields(RunSettings)), "run")
    found: dict[str, Any] = {
        name: _every(name, given) for name, given in value.items() if name not in ("backups", "listen")
    }
    if "backups" in value:
        found["backups"] = _periods(value["backups"])
    if "listen" in value:
        found["listen"] = _place(value["listen"])
    return RunSettings(**found)


def _every(name: str, value: Any) -> float:
    every = seconds(value)
    if 0 < every < _SHORTEST:
        raise ValueError(f"{name} is shorter than {_SHORTEST:g} seconds")
    return every


def _periods(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not set(value) <= set(_TIMED):
        raise ValueError(f"backups are of {', '.join(_TIMED)}, not {value!r}")
    return tuple(period for period in _TIMED if period in value)


def _place(value: Any) -> str:
    """Loopback alone: who may ask from elsewhere is the business of a proxy. Empty: it listens nowhere."""
    match = re.fullmatch(r"(127\.0\.0\.1|localhost|\[::1\]):(\d{1,5})", str(value))
    if value != "" and (match is None or int(match[2]) > 65535):
        raise ValueError(f"listen is {value!r}, no port of this machine alone: 127.0.0.1:8290")
    return str(value)


def _tables(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError(f"is no list of tables: one [[{name}]] for each")
    return value


def _only(table: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ValueError(f"{what} has {', '.join(known)}, not {unknown[0]!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
