"""The bucket that is to be mounted, with the credentials that a mounter is given: found as for every other use of a store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from holdfast import wiring
from holdfast.errors import UsageError
from holdfast.mount.live.templates import Bucket
from holdfast.store.credentials import from_config_file
from holdfast.store.settings import bucket_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.config import Settings

__all__ = ["ask", "bucket_of"]

#: What leads a mounter to credentials that it finds and renews by itself. None of these is a secret.
_CHAIN: Final = (
    "HOME",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_CA_BUNDLE",
)
_PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")


def bucket_of(source: str, settings: Settings) -> Bucket:
    """The bucket at ``s3://bucket[/prefix]``. Keys that were given are handed on; else the mounter looks where AWS's tools look.

    Raises:
        UsageError: no bucket on S3.
    """
    if not source.startswith("s3://"):
        hint = "s3://bucket or s3://bucket/prefix; a version is mounted without --with"
        raise UsageError(f"{source!r} is no bucket that can be mounted live", subject=source, hint=hint)
    given = bucket_settings(source, settings.environ, **settings.bucket_options())
    if not given.bucket.isprintable() or not given.prefix.isprintable() or "," in source:
        raise UsageError(f"{source!r} cannot be handed to a mounter", subject=source)
    profile = from_config_file(given.config_file, given.profile)
    endpoint = given.endpoint or profile.endpoint
    return Bucket(
        name=given.bucket,
        prefix=given.prefix,
        endpoint=endpoint,
        region=given.region or profile.region,
        access_key=given.access_key,
        secret_key=given.secret_key,
        session_token=given.session_token,
        anonymous=given.anonymous,
        path_style=bool(endpoint) if given.path_style is None else given.path_style,
        kms_key=given.kms_key,
        environment=_environment(settings.environ, given.profile, has_keys=bool(given.access_key or given.anonymous)),
    )


def ask(source: str, settings: Settings) -> None:
    """Ask the bucket itself whether it is there and may be listed: mounters tell that late, or never, for they cache what is written.

    Raises:
        BucketNotFoundError, AccessError, UnreachableError: what the store answered.
    """
    wiring.open_store(source, replace(settings, mounts={})).list_level("")  # the bucket, not a folder that shows it


def _environment(variables: Mapping[str, str], profile: str | None, *, has_keys: bool) -> dict[str, str]:
    names = _PROXIES if has_keys else (*_PROXIES, *_CHAIN)
    found = {name: variables[name] for name in names if variables.get(name)}
    return found if has_keys or profile is None else found | {"AWS_PROFILE": profile}
