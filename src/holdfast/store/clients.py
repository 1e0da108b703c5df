"""Opening obstore's clients from our settings; the only module that imports obstore.

Two clients for one bucket. ``quick`` serves everything whose answer starts soon: it gives up on an endpoint that is dead, or
silent, within half a minute, retries included. ``patient`` sends large bodies, for which a silence of minutes can be a slow
line: its bound is per request, that is per part of a file. Neither bounds a whole transfer.

Credentials always go in as a callable and what we know is given in full, because obstore looks into the environment for
whatever it is not told, and settings are ours to decide.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import urlsplit, urlunsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from holdfast.errors import AccessError, HoldfastError, UsageError
from holdfast.store.credentials import AwsChain, StaticKeys, from_config_file
from holdfast.store.signing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from obstore.store import AzureConfig, BackoffConfig, ClientConfig, GCSConfig, RetryConfig, S3Config

    from holdfast.store.presign import GoogleSite, Site
    from holdfast.store.settings import BucketSettings

    Client = S3Store | GCSStore | AzureStore

__all__ = ["FAILURES", "Clients", "open_clients", "sign", "sign_many"]

#: Everything obstore raises: its own errors, and built-in ones for missing objects, bad paths and the like.
FAILURES: Final = (BaseError, FileNotFoundError, PermissionError, ValueError, NotImplementedError)
_REGION: Final = "us-east-1"


@dataclass(frozen=True)
class Clients:
    """The two clients, and what the store needs to know of how they were opened. ``find_site`` is what URLs are signed for."""

    quick: Client
    open_patient: Callable[[], Client]
    settings: BucketSettings
    endpoint: str
    can_sign: bool
    failure: Callable[[], HoldfastError | None]
    route: Route | None = None
    find_site: Callable[[], Site | GoogleSite | None] = lambda: None

    @cached_property
    def patient(self) -> Client:
        """Opened when it is first needed, which for what only reads is never."""
        return self.open_patient()

    @cached_property
    def site(self) -> Site | GoogleSite | None:
        """What URLs are signed for; None where we cannot sign them."""
        return self.find_site()

    @property
    def signs_plain_only(self) -> bool:
        """Whether URLs are signed rightly for plain keys alone: for Azure, obstore signs a key as a URL spells it."""
        return self.settings.scheme == "az"


def open_clients(settings: BucketSettings) -> Clients:
    """Open the bucket; nothing is sent yet, but AWS's credential chain is asked once, so that its errors are plain ones.

    Raises:
        AccessError: no credentials, or none that can be read.
        UsageError: settings that no client can be made of.
    """
    opener = {"s3": _s3, "gs": _gs, "az": _az}[settings.scheme]
    try:
        return opener(settings)
    except HoldfastError:
        raise
    except FAILURES as error:
        text = str(error).partition(chr(10))[0]
        # A key that cannot even be read as one is wrong credentials, as much as one that the server refuses.
        kind = AccessError if re.search("access key|pem|credential|private", text, re.IGNORECASE) else UsageError
        hint = "look at the credentials that are set" if kind is AccessError else "look at the store's settings"
        raise kind(f"cannot open {settings.url}: {text}", subject=settings.url, hint=hint) from error


def sign(client: Client, method: str, path: str, seconds: int) -> str:
    """A signed URL for the path; made locally, but for service accounts on GCS that hold no key."""
    return obstore.sign(client, cast(Literal["GET", "PUT"], method), path, timedelta(seconds=seconds))


def sign_many(client: Client, paths: list[str], seconds: int) -> list[str]:
    """Signed URLs to GET what is at these paths."""
    return list(obstore.sign(client, "GET", paths, timedelta(seconds=seconds)))


def _s3(settings: BucketSettings) -> Clients:
    settings = _with_profile(settings)
    provider = _provider(settings)
    config: dict[str, Any] = {
        "region": settings.region or _REGION,
        "virtual_hosted_style_request": not _path_style(settings),
        "unsigned_payload": _unsigned(settings),
        "skip_signature": settings.anonymous,
        # One DELETE per key: every S3 clone knows it, and we delete rarely.
        "disable_bulk_delete": True,
    }
    if settings.endpoint:
        config["aws_endpoint_url_s3"] = config["endpoint"] = _endpoint(settings)
    if settings.checksum:
        config["checksum_algorithm"] = settings.checksum
    if settings.kms_key:
        config |= {"server_side_encryption": "aws:kms", "sse_kms_key_id": settings.kms_key}

    def client(options: ClientConfig, retry: RetryConfig) -> Client:
        return S3Store(
            settings.bucket,
            config=cast("S3Config", config),
            client_options=options,
            retry_config=retry,
            credential_provider=provider,
        )

    shown = settings.endpoint or f"https://s3.{config['region']}.amazonaws.com"
    found = _both(settings, client, shown, not settings.anonymous, lambda: provider.failure if provider else None)
    region = config["region"]
    return replace(found, route=_route(settings, region, provider), find_site=lambda: _site(settings, region, provider))


def _route(settings: BucketSettings, region: str, provider: AwsChain | StaticKeys | None) -> Route | None:
    """The way to the bucket without a library, where there is one: TLS and proxies are the client's business."""
    parts = urlsplit(_endpoint(settings))
    if not (settings.direct and settings.allow_http) or not parts.hostname or parts.username or parts.query:
        return None
    return Route(
        host=parts.hostname,
        port=parts.port or 80,
        authority=parts.netloc,
        base=parts.path + (f"/{settings.bucket}" if _path_style(settings) else ""),
        region=region,
        credentials=provider,
        unsigned_payload=_unsigned(settings),
        takes_md5=settings.unsigned_payload is None,
        writes=not (settings.kms_key or settings.checksum),
    )


def _site(settings: BucketSettings, region: str, provider: AwsChain | StaticKeys | None) -> Site | None:
    """What URLs are signed for; none without credentials."""
    if provider is None:
        return None
    from holdfast.store.presign import Site

    path_style = _path_style(settings)
    parts = urlsplit(settings.endpoint.rstrip("/") if settings.endpoint else f"https://s3.{region}.amazonaws.com")
    authority = parts.netloc if path_style else f"{settings.bucket}.{parts.netloc}"
    return Site(
        origin=f"{parts.scheme}://{authority}",
        authority=authority,
        base=parts.path + (f"/{settings.bucket}" if path_style else ""),
        region=region,
        credentials=provider,
        plain=not (settings.kms_key or settings.checksum),
    )


def _with_profile(settings: BucketSettings) -> BucketSettings:
    """Region and endpoint from the profile's file, where nothing stronger gave them."""
    if settings.region and settings.endpoint:
        return settings
    found = from_config_file(settings.config_file, settings.profile)
    return replace(settings, region=settings.region or found.region, endpoint=settings.endpoint or found.endpoint)


def _provider(settings: BucketSettings) -> AwsChain | StaticKeys | None:
    if settings.anonymous:
        return None
    if settings.access_key and settings.secret_key:
        return StaticKeys(settings.access_key, settings.secret_key, settings.session_token)
    chain = AwsChain(settings.profile)
    chain()
    return chain


def _path_style(settings: BucketSettings) -> bool:
    """The bucket in the path: with an endpoint of one's own, and where a dot in its name would break TLS."""
    if settings.path_style is not None:
        return settings.path_style
    return settings.endpoint is not None or "." in settings.bucket


def _endpoint(settings: BucketSettings) -> str:
    """The endpoint as the client wants it, which is with the bucket in the host for virtual-hosted requests."""
    parts = urlsplit((settings.endpoint or "").rstrip("/"))
    host = parts.netloc if _path_style(settings) else f"{settings.bucket}.{parts.netloc}"
    return urlunsplit(parts._replace(netloc=host))


def _unsigned(settings: BucketSettings) -> bool:
    """Over TLS the body is protected already, and hashing it again costs half of a core's time (design §6)."""
    return not settings.allow_http if settings.unsigned_payload is None else settings.unsigned_payload


def _gs(settings: BucketSettings) -> Clients:
    config: dict[str, Any] = {"skip_signature": settings.anonymous}
    if settings.endpoint:
        config["base_url"] = settings.endpoint.rstrip("/")
    if settings.google_key:
        config["service_account_key"] = settings.google_key
    elif settings.google_account:
        config["service_account"] = settings.google_account
    elif settings.google_credentials:
        config["application_credentials"] = settings.google_credentials
    account = _service_account(settings)
    base = str(account.get("gcs_base_url") or "")
    shown = settings.endpoint or base or "https://storage.googleapis.com"
    allow_http = settings.allow_http or base.startswith("http://")

    def client(options: ClientConfig, retry: RetryConfig) -> Client:
        options["allow_http"] = allow_http
        return GCSStore(settings.bucket, config=cast("GCSConfig", config), client_options=options, retry_config=retry)

    found = _both(settings, client, shown, bool(account.get("private_key")), lambda: None)
    return replace(found, find_site=lambda: _google_site(settings, shown, account))


def _google_site(settings: BucketSettings, endpoint: str, account: Mapping[str, Any]) -> GoogleSite | None:
    """What URLs are signed for; none without a key, or where nobody was given who can sign with it."""
    name, key = account.get("client_email"), account.get("private_key")
    if settings.rsa is None or settings.anonymous or not (name and key):
        return None
    from holdfast.store.presign import GoogleSite

    parts = urlsplit(endpoint.rstrip("/"))
    base = f"{parts.path}/{settings.bucket}"
    return GoogleSite(f"{parts.scheme}://{parts.netloc}", parts.netloc, base, str(name), settings.rsa(str(key)))


def _service_account(settings: BucketSettings) -> dict[str, Any]:
    """The service account's key or file, for its endpoint and for whether it can sign; nothing where there is none."""
    if settings.google_key:
        try:
            known = json.loads(settings.google_key)
        except ValueError:
            raise UsageError("the Google service account's key is no JSON", subject="credentials") from None
        return known if isinstance(known, dict) else {}
    path = settings.google_account or settings.google_credentials
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read the Google credentials file {path}: {error}",
            subject=path,
            hint="see GOOGLE_SERVICE_ACCOUNT and GOOGLE_APPLICATION_CREDENTIALS",
        ) from error
    return found if isinstance(found, dict) else {}


def _az(settings: BucketSettings) -> Clients:
    if not settings.azure_account:
        hint = "set AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_NAME"
        raise UsageError(f"no storage account is named for {settings.url}", subject=settings.url, hint=hint)
    config: dict[str, Any] = {"account_name": settings.azure_account, "skip_signature": settings.anonymous}
    if settings.endpoint:
        config["endpoint"] = settings.endpoint
    if settings.azure_key:
        config["account_key"] = settings.azure_key
    elif settings.azure_sas:
        config["sas_key"] = settings.azure_sas
    else:
        config |= settings.azure_identity

    def client(options: ClientConfig, retry: RetryConfig) -> Client:
        return AzureStore(
            settings.bucket, config=cast("AzureConfig", config), client_options=options, retry_config=retry
        )

    shown = settings.endpoint or f"https://{settings.azure_account}.blob.core.windows.net"
    return _both(settings, client, shown, not settings.anonymous and not settings.azure_sas, lambda: None)


def _both(
    settings: BucketSettings,
    client: Callable[[ClientConfig, RetryConfig], Client],
    endpoint: str,
    can_sign: bool,
    failure: Callable[[], HoldfastError | None],
) -> Clients:
    connect = timedelta(seconds=settings.connect_timeout)
    whole = timedelta(seconds=settings.upload_timeout)
    # A silence is retried once at most: a retry starts only while fewer seconds than one and a half silences have gone by.
    quick_retry = _retry(timedelta(seconds=1.4 * settings.read_timeout), most=8)
    patient_retry = _retry(timedelta(seconds=180), most=10)
    quick: ClientConfig = {
        "allow_http": settings.allow_http,
        "connect_timeout": connect,
        "read_timeout": timedelta(seconds=settings.read_timeout),
        "timeout": whole,
    }
    patient: ClientConfig = {"allow_http": settings.allow_http, "connect_timeout": connect, "timeout": whole}
    opened = client(quick, quick_retry)
    return Clients(opened, lambda: client(patient, patient_retry), settings, endpoint, can_sign, failure)


def _retry(within: timedelta, *, most: int) -> RetryConfig:
    backoff: BackoffConfig = {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=3), "base": 2}
    return {"max_retries": most, "retry_timeout": within, "backoff": backoff}
