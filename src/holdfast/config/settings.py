"""Reading settings: argument, then environment, then profile, then file, then default; each value with its origin.

Start-up counts here: a TOML reader is imported only where there is a file, and folders are worked out by platformdirs
only where the platform has no plain rule. The environment is copied once and kept, for those who read a cloud's own
variables.

Example::

    >>> settings = load({"store": "s3://models"}, environ={}, file=Path("/nonexistent"))
    >>> settings.store, settings.origins["store"]
    ('s3://models', 'argument')
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.config import active
from holdfast.config.keys import KEYS, Key, key_named
from holdfast.errors import LocalError, UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DEFAULT_PREFIX", "Settings", "config_file", "load", "masked"]

#: The prefix that modelkit gives every store that is made from its variables.
DEFAULT_PREFIX: Final = "modelkit-assets"

_CONFIG_VARIABLE: Final = "HOLDFAST_CONFIG"
_PROFILE_VARIABLE: Final = "HOLDFAST_PROFILE"
_PROVIDERS: Final = {"s3": "s3", "gcs": "gs", "gs": "gs", "az": "az", "azure": "az", "local": "file"}
#: Variables of one cloud say nothing about another's bucket.
_CLOUDS: Final = {"s3": ("AWS_", "S3_"), "gs": ("GOOGLE_",), "az": ("AZURE_",)}
#: Where they lie in a home, where no XDG variable says otherwise.
_HOMES: Final = {"config": ".config", "cache": ".cache", "state": ".local/state"}
_MASK: Final = "********"
_NOTHING: Final[Mapping[str, object]] = {}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting, typed; ``origins`` says of each where it comes from. Secrets are not in the repr.

    ``store`` is complete: made from ``server`` and ``project``, or from modelkit's variables, where it was not set.
    ``state_dir`` keeps what must be known after a reboot and belongs to this machine alone.
    ``environ`` is a copy of the environment, ``unknown`` the names in the file that are no settings.
    """

    store: str | None
    server: str | None
    project: str | None
    token: str | None = field(repr=False)
    assets_dir: Path
    cache_max_size: int | None
    cache_keep_free: int | None
    cache_timeout: float
    versioning: str
    endpoint: str | None
    region: str | None
    s3_profile: str | None
    s3_kms_key: str | None
    s3_checksum: str | None
    s3_path_style: bool | None
    store_timeout: float
    mounts: Mapping[str, str]
    mount_atomic: bool | None
    mount_timeout: float
    mount_path: tuple[str, ...] | None
    cache_dir: Path
    state_dir: Path
    profile: str | None
    file: Path
    origins: Mapping[str, str]
    environ: Mapping[str, str] = field(repr=False)
    unknown: tuple[str, ...] = ()

    @property
    def place(self) -> str | None:
        """Which store it is: its URL, and the endpoint where one is set, for two clouds may have buckets of one name."""
        if self.store is None or self.endpoint is None or self.store.startswith(("file:", "memory:", "http")):
            return self.store
        return f"{self.store}@{self.endpoint}"

    @property
    def certificates(self) -> str | None:
        """The file of one's own certificate authorities, by the variables that other programs read."""
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")
        return next((self.environ[name] for name in names if self.environ.get(name)), None)

    def bucket_options(self) -> dict[str, Any]:
        """What ``store.settings.bucket_settings`` does not see in the clouds' environment: values given, set in the file, or our own."""
        names = {"endpoint": "endpoint", "region": "region", "s3.profile": "profile", "s3.kms_key": "kms_key"}
        names |= {"s3.checksum": "checksum", "s3.path_style": "path_style"}
        chosen = {names[key]: getattr(self, KEYS[key].attribute) for key in names if not self._from_environment(key)}
        if self.origins["store_timeout"] != "default":
            chosen["read_timeout"] = self.store_timeout
        return {name: value for name, value in chosen.items() if value not in (None, "NONE")}

    def _from_environment(self, key: str) -> bool:
        return self.origins[key].startswith("environment")

    def shown(self) -> Iterator[tuple[str, object, str]]:
        """Name, value and origin of every setting, secrets masked."""
        for key in KEYS.values():
            value = getattr(self, key.attribute)
            if value is not None:
                value = _MASK if key.secret else masked(value)
            yield key.name, value, self.origins[key.name]


@dataclass(frozen=True)
class _Sources:
    """Where values are looked for, strongest first."""

    arguments: Mapping[str, object]
    environ: Mapping[str, str]
    tables: tuple[tuple[str, Mapping[str, object]], ...]

    def find(self, key: Key, scheme: str) -> tuple[object, str]:
        """The checked value and its origin."""
        value, origin = next(self._candidates(key, scheme), (None, "default"))
        return (key.default if origin == "default" else key.check(value, origin)), origin

    def _candidates(self, key: Key, scheme: str) -> Iterator[tuple[object, str]]:
        if key.name in self.arguments:
            yield self.arguments[key.name], "argument"
        for variable in key.environment:
            if self.environ.get(variable) and (key.name != "endpoint" or variable.startswith(_CLOUDS.get(scheme, ()))):
                yield self.environ[variable], f"environment variable {variable}"
        for origin, table in self.tables:
            if key.name in table:
                yield table[key.name], origin


def load(
    arguments: Mapping[str, object] = _NOTHING,
    environ: Mapping[str, str] | None = None,
    profile: str | None = None,
    file: Path | None = None,
) -> Settings:
    """The settings. ``arguments`` are by setting name, or ``storage_prefix``; those that are None count as not given.

    Raises:
        UsageError: a value is not what its setting takes, an unknown argument or profile, a file that is not TOML.
        LocalError: the file is there and cannot be read.
    """
    variables = dict(os.environ if environ is None else environ)
    path = file or config_file(variables)
    given = {(_known(name)): value for name, value in arguments.items() if value is not None}
    _take_chosen(given)
    prefix = given.pop("storage_prefix", None)
    document = _read(path) if _is_there(path) else {}
    chosen = profile or variables.get(_PROFILE_VARIABLE) or document.get("profile")
    tables, unknown = _tables(document, None if chosen is None else str(chosen), path)
    sources = _Sources(given, variables, tables)
    values, origins = _values(sources, None if prefix is None else str(prefix))
    cache_dir = _folder("cache", variables)
    values["assets_dir"] = Path(str(values["assets_dir"] or cache_dir / "assets"))
    fields: dict[str, Any] = {KEYS[name].attribute: value for name, value in values.items()}
    fields["mounts"] = fields["mounts"] or {}
    return Settings(
        **fields,
        cache_dir=cache_dir,
        state_dir=_folder("state", variables),
        profile=None if chosen is None else str(chosen),
        file=path,
        origins=origins,
        environ=variables,
        unknown=unknown,
    )


def _take_chosen(given: dict[str, object]) -> None:
    """The project that was chosen in Python, where the caller names neither a store nor a project."""
    chosen = active.chosen()
    if chosen is not None and "store" not in given and "project" not in given:
        given["project"] = chosen[0]
        if chosen[1] is not None:
            given.setdefault("server", chosen[1])


def _known(name: str) -> str:
    return name if name == "storage_prefix" else key_named(name).name


def _values(sources: _Sources, prefix: str | None) -> tuple[dict[str, object], dict[str, str]]:
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    scheme = "s3"
    for key in KEYS.values():
        values[key.name], origins[key.name] = sources.find(key, scheme)
        if key.name == "token":  # the last of those that say which store it is
            _complete_store(values, origins, sources, prefix)
            scheme = str(values["store"] or "s3").partition("://")[0]
    return values, origins


def _complete_store(values: dict[str, object], origins: dict[str, str], sources: _Sources, prefix: str | None) -> None:
    """Make the store from a project or from modelkit's variables where it was not set; an explicit prefix goes in."""
    project, missing = values["project"], values["store"] is None
    project_given = origins["project"] == "argument" and origins["store"] != "argument"
    if project is not None and (missing or project_given):
        if values["server"] is None:
            hint = "asset config set server https://HOST (or ASSET_SERVER_URL)"
            raise UsageError(f"project {project!r} is set, but no server", subject="server", hint=hint)
        values["store"] = f"{values['server']}/{project}"
        origins["store"] = f"project {project} ({origins['project']}) on the server ({origins['server']})"
    elif missing:
        values["store"] = _modelkit_store(sources.environ, prefix)
        origins["store"] = "environment variables MODELKIT_STORAGE_*" if values["store"] else "default"
    elif prefix is not None:
        values["store"] = _with_prefix(str(values["store"]), prefix)
        origins["store"] += ", with the prefix given"


def _modelkit_store(environ: Mapping[str, str], prefix: str | None) -> str | None:
    provider, bucket = environ.get("MODELKIT_STORAGE_PROVIDER"), environ.get("MODELKIT_STORAGE_BUCKET")
    if not provider:
        return None
    scheme = _PROVIDERS.get(provider)
    if scheme is None:
        hint = nearest(provider, list(_PROVIDERS)) or "providers: s3, gcs, az, local"
        raise UsageError(f"unknown MODELKIT_STORAGE_PROVIDER {provider!r}", subject="store", hint=hint)
    if not bucket:
        hint = "set it, or HOLDFAST_STORE instead of both"
        raise UsageError("MODELKIT_STORAGE_PROVIDER is set, but no MODELKIT_STORAGE_BUCKET", subject="store", hint=hint)
    root = Path(os.path.abspath(bucket)).as_uri() if scheme == "file" else f"{scheme}://{bucket}"
    chosen = environ.get("MODELKIT_STORAGE_PREFIX", DEFAULT_PREFIX) if prefix is None else prefix
    return f"{root}/{chosen.strip('/')}".rstrip("/")


def _with_prefix(store: str, prefix: str) -> str:
    """The store with another prefix; a directory has no prefix of its own, so there it is added."""
    scheme, _, rest = store.partition("://")
    if scheme in ("http", "https"):
        raise UsageError("storage_prefix does not go with a server's project", subject="storage_prefix")
    root = rest.rstrip("/") if scheme == "file" else rest.partition("/")[0]
    return f"{scheme}://{root}/{prefix.strip('/')}".rstrip("/")


def config_file(environ: Mapping[str, str] | None = None) -> Path:
    """Where ``config.toml`` is, whether or not it exists."""
    environ = os.environ if environ is None else environ
    moved = environ.get(_CONFIG_VARIABLE)
    return Path(moved).expanduser() if moved else _folder("config", environ) / "config.toml"


def _folder(kind: str, environ: Mapping[str, str]) -> Path:
    """The user's config, cache or state folder for Holdfast; on Linux by the XDG rule itself, which costs no import."""
    if sys.platform != "linux":
        import platformdirs

        return Path(getattr(platformdirs, f"user_{kind}_path")("holdfast"))
    base = environ.get(f"XDG_{kind.upper()}_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(environ.get("HOME") or os.path.expanduser("~"), _HOMES[kind])
    return Path(base) / "holdfast"


def _is_there(path: Path) -> bool:
    """Whether there is such a file; one in a folder that is closed to us counts, to be told, but none in a home of somebody else's."""
    try:
        os.lstat(path)
    except PermissionError:
        return os.path.lexists(path.parent)
    except OSError:
        return False
    return True


def _read(path: Path) -> dict[str, object]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}", subject=str(path), hint="correct or remove it") from None
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror}", subject=str(path)) from error


def _tables(
    document: Mapping[str, object], profile: str | None, path: Path
) -> tuple[tuple[tuple[str, Mapping[str, object]], ...], tuple[str, ...]]:
    profiles = document.get("profiles", {})
    if not isinstance(profiles, dict):
        raise UsageError(f"{path}: 'profiles' is not a table", subject="profiles", hint="write [profiles.NAME]")
    shared = _flat({name: value for name, value in document.items() if name not in ("profiles", "profile")})
    tables = [(str(path), shared)]
    if profile is not None:
        if not isinstance(profiles.get(profile), dict):
            hint = nearest(profile, list(profiles)) or f"profiles in {path}: {', '.join(profiles) or 'none'}"
            raise UsageError(f"unknown profile {profile!r}", subject=profile, hint=hint)
        tables.insert(0, (f"profile {profile} in {path}", _flat(profiles[profile])))
    return tuple(tables), tuple(sorted({name for _, table in tables for name in table if name not in KEYS}))


def _flat(table: Mapping[str, object]) -> dict[str, object]:
    """Names with dots for tables in a table, down to the settings; ``mounts`` is itself one."""
    flat: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, dict) and name not in KEYS:
            flat |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            flat[name] = value
    return flat


def masked(value: object) -> object:
    """A URL without the credentials that somebody wrote into it."""
    if not isinstance(value, str) or "://" not in value:
        return value
    scheme, _, rest = value.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{_MASK}@{host.rpartition('@')[2]}{slash}{path}" if "@" in host else value
