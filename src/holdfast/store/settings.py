"""What a bucket store needs to know, and how the clouds' own environment variables say it. Values only, no I/O.

Each cloud's tools have taught people a set of variables; we read the same, so that whoever can use ``aws``, ``gcloud`` or
``az`` here can use Holdfast. :func:`bucket_settings` is a pure function from an environment that it is given; explicit
values come as overrides and win. The variables, first one set wins:

===================  ==================================================================================================
field                variables
===================  ==================================================================================================
endpoint (s3)        AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, S3_ENDPOINT; else ``endpoint_url`` of the profile
region               AWS_REGION, AWS_DEFAULT_REGION; else ``region`` of the profile; else us-east-1
access_key, ...      AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN; else what botocore finds
profile              AWS_PROFILE, AWS_DEFAULT_PROFILE
config_file          AWS_CONFIG_FILE; else ``~/.aws/config``
anonymous            AWS_SKIP_SIGNATURE, GOOGLE_SKIP_SIGNATURE, AZURE_SKIP_SIGNATURE: requests are not signed at all
kms_key              AWS_KMS_KEY_ID, AWS_SSE_KMS_KEY_ID: objects are encrypted with this key of the store's KMS
checksum             AWS_CHECKSUM_ALGORITHM: SHA256 or CRC64NVME, checked by stores that know it; ``none`` turns it off
unsigned_payload     AWS_UNSIGNED_PAYLOAD: leave the body out of the signature (the default over TLS); false: sign its SHA-256, always
path_style           AWS_VIRTUAL_HOSTED_STYLE_REQUEST, S3_FORCE_PATH_STYLE (the bucket in the path, default with an endpoint)
endpoint (gs)        GOOGLE_BASE_URL, STORAGE_EMULATOR_HOST
google_key           GOOGLE_SERVICE_ACCOUNT_KEY: a service account's key itself, as JSON
google_account       GOOGLE_SERVICE_ACCOUNT, GOOGLE_SERVICE_ACCOUNT_PATH: a service account's key file
google_credentials   GOOGLE_APPLICATION_CREDENTIALS; else ``gcloud``'s own file; else the machine's account
endpoint (az)        AZURE_STORAGE_ENDPOINT, AZURE_ENDPOINT; else BlobEndpoint of the connection string
azure_account, _key  AZURE_STORAGE_ACCOUNT_NAME (or _ACCOUNT), AZURE_STORAGE_ACCOUNT_KEY (or _KEY, AZURE_STORAGE_ACCESS_KEY)
azure_sas            AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_SAS_KEY
azure_identity       AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE, AZURE_USE_AZURE_CLI
===================  ==================================================================================================

AZURE_STORAGE_CONNECTION_STRING gives account, key or SAS, and endpoint at once; single variables win over its parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BucketSettings", "bucket_settings", "split_url"]

_SCHEMES: Final = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az"}
#: What Azure's own emulator and tools call the development account.
_AZURE_SUFFIX: Final = "core.windows.net"
_PROXIES: Final = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSettings:
    """Everything a :class:`~holdfast.store.bucket.BucketStore` needs, as plain values; its repr shows no secret.

    ``direct`` says that no proxy stands before the bucket, so that it may be spoken to without the client that knows proxies.
    ``whole`` is how many bytes of an object are read at once, at most, where no range of it is asked for.
    ``rsa`` makes of a private key in PEM what signs by it (SHA-256), where somebody has a library for that.
    Timeouts are in seconds: ``connect_timeout`` bounds name look-up and connecting, ``read_timeout`` a silence while
    an answer is awaited or read, ``upload_timeout`` one request with a large body (a part of a file).
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    credentials: Callable[[], Any] | None = None
    profile: str | None = None
    config_file: Path | None = None
    anonymous: bool = False
    direct: bool = False
    kms_key: str | None = None
    path_style: bool | None = None
    checksum: str | None = None
    unsigned_payload: bool | None = None
    google_key: str | None = field(default=None, repr=False)
    google_account: str | None = None
    google_credentials: str | None = None
    rsa: Callable[[str], Callable[[bytes], bytes]] | None = field(default=None, repr=False)
    azure_account: str | None = None
    azure_key: str | None = field(default=None, repr=False)
    azure_sas: str | None = field(default=None, repr=False)
    azure_identity: Mapping[str, str] = field(default_factory=dict, repr=False)
    whole: int | None = None
    connect_timeout: float = 5.0
    read_timeout: float = 10.0
    upload_timeout: float = 300.0

    def __post_init__(self) -> None:
        """Normalise the URL and refuse what no store could be opened with."""
        scheme, bucket, prefix = split_url(self.url)
        object.__setattr__(self, "url", f"{scheme}://{bucket}/{prefix}".rstrip("/"))
        if self.checksum not in (None, "SHA256", "CRC64NVME"):
            raise UsageError(f"no checksum {self.checksum!r}", subject="checksum", hint="SHA256, CRC64NVME or none")
        if self.endpoint and urlsplit(self.endpoint).scheme not in ("http", "https"):
            raise UsageError(f"endpoint {self.endpoint!r} is no http or https URL", subject="endpoint")

    @property
    def scheme(self) -> str:
        """s3, gs or az."""
        return split_url(self.url)[0]

    @property
    def bucket(self) -> str:
        """The bucket or container."""
        return split_url(self.url)[1]

    @property
    def prefix(self) -> str:
        """What all keys lie under, without slashes at its ends; may be empty."""
        return split_url(self.url)[2]

    @property
    def allow_http(self) -> bool:
        """Whether the endpoint was given without TLS; nothing else allows it."""
        return bool(self.endpoint) and urlsplit(self.endpoint or "").scheme == "http"


def split_url(url: str) -> tuple[str, str, str]:
    """Scheme (s3, gs, az), bucket and prefix of a store's URL; ``gcs://`` is ``gs://``.

    Raises:
        UsageError: the URL is not one of a bucket.
    """
    scheme, found, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if not found or scheme not in _SCHEMES or not bucket:
        hint = "s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"
        raise UsageError(f"{url!r} is no URL of a bucket", subject=url, hint=hint)
    return _SCHEMES[scheme], bucket, prefix.strip("/")


def bucket_settings(url: str, environ: Mapping[str, str], **overrides: Any) -> BucketSettings:
    """The settings of the store at ``url`` as this environment gives them; ``overrides`` that are not None win.

    Raises:
        UsageError: the URL, or a value, is none that a store could be opened with.
    """
    scheme = split_url(url)[0]
    given = {"s3": _aws, "gs": _google, "az": _azure}[scheme](environ)
    given["direct"] = not any(environ.get(name) for name in _PROXIES)
    settings = BucketSettings(url=url, **(given | {k: v for k, v in overrides.items() if v is not None}))
    if overrides.get("profile") and not overrides.get("access_key"):
        # As in AWS's own tools: a profile named on purpose is stronger than keys in the environment.
        settings = replace(settings, access_key=None, secret_key=None, session_token=None)
    return settings


def _aws(environ: Mapping[str, str]) -> dict[str, Any]:
    virtual = _flag(environ, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AWS_VIRTUAL_HOSTED")
    path_style = _flag(environ, "S3_FORCE_PATH_STYLE", "AWS_S3_FORCE_PATH_STYLE")
    checksum = (_first(environ, "AWS_CHECKSUM_ALGORITHM") or "none").upper()
    home = environ.get("HOME")
    config = environ.get("AWS_CONFIG_FILE") or (f"{home}/.aws/config" if home else None)
    both = environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY")
    return {
        "endpoint": _first(environ, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT"),
        "region": _first(environ, "AWS_REGION", "AWS_DEFAULT_REGION"),
        # Half a pair is left to botocore, which says what is missing.
        "access_key": environ.get("AWS_ACCESS_KEY_ID") if both else None,
        "secret_key": environ.get("AWS_SECRET_ACCESS_KEY") if both else None,
        "session_token": _first(environ, "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN") if both else None,
        "profile": _first(environ, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
        "config_file": Path(config).expanduser() if config else None,
        "anonymous": bool(_flag(environ, "AWS_SKIP_SIGNATURE")),
        "kms_key": _first(environ, "AWS_KMS_KEY_ID", "AWS_SSE_KMS_KEY_ID"),
        "path_style": path_style if virtual is None else not virtual,
        "checksum": None if checksum == "NONE" else checksum,
        "unsigned_payload": _flag(environ, "AWS_UNSIGNED_PAYLOAD"),
    }


def _google(environ: Mapping[str, str]) -> dict[str, Any]:
    emulator = environ.get("STORAGE_EMULATOR_HOST")
    if emulator and "://" not in emulator:
        emulator = f"http://{emulator}"
    return {
        "endpoint": _first(environ, "GOOGLE_BASE_URL") or emulator,
        "anonymous": bool(_flag(environ, "GOOGLE_SKIP_SIGNATURE")) or bool(emulator),
        "google_key": _first(environ, "GOOGLE_SERVICE_ACCOUNT_KEY"),
        "google_account": _first(environ, "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH"),
        "google_credentials": _first(environ, "GOOGLE_APPLICATION_CREDENTIALS"),
    }


def _azure(environ: Mapping[str, str]) -> dict[str, Any]:
    parts = _connection_string(environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    names = {
        "client_id": "AZURE_CLIENT_ID",
        "client_secret": "AZURE_CLIENT_SECRET",
        "tenant_id": "AZURE_TENANT_ID",
        "authority_host": "AZURE_AUTHORITY_HOST",
        "federated_token_file": "AZURE_FEDERATED_TOKEN_FILE",
        "use_azure_cli": "AZURE_USE_AZURE_CLI",
    }
    account = _first(environ, "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
    key = _first(environ, "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY")
    sas = _first(environ, "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY") or parts.get("SharedAccessSignature")
    return {
        "endpoint": _first(environ, "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT") or _blob_endpoint(parts),
        "anonymous": bool(_flag(environ, "AZURE_SKIP_SIGNATURE")),
        "azure_account": account or parts.get("AccountName"),
        "azure_key": key or parts.get("AccountKey"),
        "azure_sas": sas,
        "azure_identity": {field: environ[name] for field, name in names.items() if environ.get(name)},
    }


def _connection_string(text: str) -> dict[str, str]:
    """``A=b;C=d`` as a dict; values may hold ``=``."""
    pairs = (piece.split("=", 1) for piece in text.split(";") if "=" in piece)
    return {name.strip(): value.strip() for name, value in pairs}


def _blob_endpoint(parts: Mapping[str, str]) -> str | None:
    if "BlobEndpoint" in parts:
        return parts["BlobEndpoint"].rstrip("/")
    suffix, account = parts.get("EndpointSuffix", _AZURE_SUFFIX), parts.get("AccountName")
    if account and suffix != _AZURE_SUFFIX:
        return f"{parts.get('DefaultEndpointsProtocol', 'https')}://{account}.blob.{suffix}"
    return None


def _first(environ: Mapping[str, str], *names: str) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)


def _flag(environ: Mapping[str, str], *names: str) -> bool | None:
    text = _first(environ, *names)
    return None if text is None else text.strip().lower() in ("1", "true", "yes", "on")
