"""The shortest way through a fetch of a full version that is on this machine: no store, no click, no transfer code.

Start-up is all that such a call costs, so it is answered here before anything else is imported. Whatever is not plainly that
call, or does not end well, is left to the command itself, which decides, complains and fetches.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.cache.assets import AssetsDir
    from holdfast.config import Settings
    from holdfast.model.spec import AssetSpec

__all__ = ["answered"]

_FLAGS = ("--json", "-q", "--quiet", "--offline")
_VALUES = ("--store", "--profile", "--assets-dir")


def answered(args: list[str]) -> bool:
    """Whether the command line was such a fetch, and its answer is on stdout."""
    begun = monotonic()
    given = _read(args)
    if given is None:
        return False
    from holdfast.cache.assets import AssetsDir
    from holdfast.config import load
    from holdfast.errors import HoldfastError
    from holdfast.model.spec import AssetSpec

    try:
        spec = AssetSpec.parse(given["spec"])
        settings = load(
            {"store": given.get("--store"), "assets_dir": given.get("--assets-dir")}, profile=given.get("--profile")
        )
        assets = AssetsDir(settings.assets_dir)
        path = None if settings.unknown else _path(assets, spec, settings)
    except (HoldfastError, OSError):
        return False
    if path is None or spec.version is None:
        return False
    if "--json" in given:
        _print_json(assets, spec, path, begun)
    else:
        from holdfast.cli.output import print_lines

        print_lines([str(path)])
    assets.touch(spec.name, spec.version)
    return True


def _read(args: list[str]) -> dict[str, str] | None:
    """The options and the one spec of ``asset fetch SPEC``; None where there is anything else on the line."""
    given: dict[str, str] = {}
    plain: list[str] = []
    rest = iter(args)
    for arg in rest:
        name, equals, value = arg.partition("=")
        if arg in _FLAGS:
            given[arg] = ""
        elif name in _VALUES:
            given[name] = value if equals else next(rest, "")
        elif arg.startswith("-"):
            return None
        else:
            plain.append(arg)
    if len(plain) != 2 or plain[0] != "fetch" or "" in (given.get(name) for name in _VALUES):
        return None
    return given | {"spec": plain[1]}


def _path(assets: AssetsDir, spec: AssetSpec, settings: Settings) -> Path | None:
    """Where the version, or the sub-path of it, is; None where it is not here from this store, or not surely so."""
    from holdfast.model.version import BUILT_IN

    version = spec.version
    if version is None or not any(scheme.is_full(version) for scheme in BUILT_IN.values()):
        return None
    if not assets.is_complete(spec.name, version):
        return None
    known = assets.known(spec.name, version)
    if known is not None and settings.place not in (None, known.store):
        return None
    path = assets.path_of(spec.name, version)
    if spec.sub_path is None:
        return path
    inner = path / spec.sub_path
    return inner if inner.exists() else None


def _print_json(assets: AssetsDir, spec: AssetSpec, path: Path, begun: float) -> None:
    import json

    from holdfast.cli.output import print_json
    from holdfast.formats import layout
    from holdfast.model.result import Fetched

    name, version = spec.name, str(spec.version)
    known, data = assets.known(name, version), assets.meta(name, version)
    fetched = Fetched(
        path=str(path),
        from_cache=True,
        version=version,
        name=name,
        meta={"is_directory": assets.path_of(name, version).is_dir()} if data is None else json.loads(data),
        object_name=layout.data_key(name, version),
        meta_object_name=layout.meta_key(name, version),
        versions_object_name=layout.versions_key(name),
        verified="length" if known is None else known.verified,  # type: ignore[arg-type]
        seconds=round(monotonic() - begun, 4),
    )
    print_json(fetched)
    sys.stdout.flush()
