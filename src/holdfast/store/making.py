"""Makes buckets on S3 and tells whose they are: the two things that a store is asked for before there is a bucket.

Other providers' buckets are made by hand. A bucket is made private: no public access is ever asked for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from holdfast.errors import AccessError, UnreachableError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.store.settings import BucketSettings

__all__ = ["Owner", "make_bucket", "owner_of"]

#: Whose a bucket is: this account's, another's, or nobody's.
Owner = str
_DEFAULT_REGION = "us-east-1"


def owner_of(settings: BucketSettings, bucket: str) -> Owner:
    """``ours``, ``another`` or ``nobody``.

    Raises:
        AccessError: these credentials may not list the account's buckets.
        UnreachableError: there is no answer.
        UnsupportedError: it is no S3.
    """
    client = _client(settings)
    names = _asked(bucket, lambda: [each["Name"] for each in client.list_buckets().get("Buckets", ())])
    if bucket in names:
        return "ours"
    return "another" if _asked(bucket, lambda: _exists(client, bucket)) else "nobody"


def make_bucket(settings: BucketSettings, bucket: str) -> None:
    """Make a private bucket; one that this account has already is no error.

    Raises:
        AccessError: another account has it, or these credentials may not make one.
    """
    client, region = _client(settings), settings.region or _DEFAULT_REGION
    where = {} if region == _DEFAULT_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    _asked(bucket, lambda: client.create_bucket(Bucket=bucket, ACL="private", **where))


def _exists(client: Any, bucket: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404
    return True


def _client(settings: BucketSettings) -> Any:
    if not settings.url.startswith("s3://"):
        raise UnsupportedError(
            f"buckets of {settings.url.partition(':')[0]}:// are not made here",
            subject=settings.url,
            hint="make it, private, and name it with --adopt",
        )
    style = "path" if settings.path_style or settings.endpoint else "auto"
    keys = (settings.access_key, settings.secret_key, settings.session_token) if settings.access_key else None
    region = settings.region or _DEFAULT_REGION
    return _opened(settings.endpoint, region, style, settings.connect_timeout, keys, settings.profile)


@lru_cache(maxsize=4)
def _opened(
    endpoint: str | None,
    region: str,
    style: str,
    connect_timeout: float,
    keys: tuple[str | None, str | None, str | None] | None,
    profile: str | None,
) -> Any:
    """A client for all buckets of an account: opening one takes longer than what is asked of it."""
    import botocore.session
    from botocore.config import Config

    addressing: Any = {"addressing_style": style}
    limits = Config(s3=addressing, connect_timeout=connect_timeout, read_timeout=30, retries={"total_max_attempts": 3})
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    given: dict[str, Any] = dict(zip(names, keys, strict=True)) if keys else {}
    session = botocore.session.Session(profile=profile)
    return session.create_client("s3", region_name=region, endpoint_url=endpoint, config=limits, **given)


def _asked(bucket: str, ask: Callable[[], Any]) -> Any:
    """The answer; refusals and silence as ours."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "BucketAlreadyOwnedByYou":
            return None
        what = "another account has it" if code == "BucketAlreadyExists" else f"refused: {code}"
        raise AccessError(
            f"bucket {bucket}: {what}", subject=bucket, hint="look at the credentials, or choose another in [buckets]"
        ) from error
    except BotoCoreError as error:
        raise UnreachableError(f"bucket {bucket}: {error}", subject=bucket) from error
