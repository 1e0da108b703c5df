"""Makes buckets on S3 and tells whose they are: the two things that a store is asked for before there is a bucket.

Other providers' buckets are made by hand. A bucket is made private: no public access is ever asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from holdfast.errors import AccessError, UnreachableError, UnsupportedError
from holdfast.store.calls import call, each_text, text_of
from holdfast.store.presign import Presigner, Site

if TYPE_CHECKING:
    import urllib3

    from holdfast.store.settings import BucketSettings

__all__ = ["NewBucket", "Owner"]

#: Whose a bucket is: this account's, another's, or nobody's.
Owner = str
_DEFAULT_REGION: Final = "us-east-1"
_SILENCE: Final = 30.0
_PRIVATE: Final = {"x-amz-acl": "private"}
_CONFIGURATION: Final = (
    '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>"
)


class NewBucket:
    """The bucket of these settings, which may not be there yet.

    Raises:
        AccessError: there are no credentials.
        UnsupportedError: it is no S3.
    """

    def __init__(self, settings: BucketSettings) -> None:
        self._settings = settings
        self._site = _site(settings)  # to find credentials can take longer than all that is asked

    def owner(self) -> Owner:
        """Whose it is: ``ours``, ``another`` or ``nobody``.

        Raises:
            AccessError: these credentials may not list the account's buckets.
            UnreachableError: there is no answer.
        """
        bucket = self._settings.bucket
        account = _asked("GET", _account(self._site, bucket), self._settings)
        if account.status != 200:
            raise _refused(account, self._settings)
        if bucket in each_text(account.data, "Name"):
            return "ours"
        return "nobody" if _asked("HEAD", self._site, self._settings).status == 404 else "another"

    def make(self) -> None:
        """Make it, private; one that this account has already is no error.

        Raises:
            AccessError: another account has it, or these credentials may not make one.
            UnreachableError: there is no answer.
        """
        region = self._settings.region or _DEFAULT_REGION
        body = "" if region == _DEFAULT_REGION else _CONFIGURATION.format(region)
        answer = _asked("PUT", self._site, self._settings, _PRIVATE, body.encode())
        if answer.status != 200 and text_of(answer.data, "Code") != "BucketAlreadyOwnedByYou":
            raise _refused(answer, self._settings)


def _site(settings: BucketSettings) -> Site:
    """What requests to the bucket itself are signed for."""
    if settings.scheme != "s3":
        raise UnsupportedError(
            f"buckets of {settings.scheme}:// are not made here",
            subject=settings.url,
            hint="make it, private, and name it with --adopt",
        )
    from holdfast.store.clients import open_clients

    site = open_clients(settings).site
    if not isinstance(site, Site):
        raise AccessError(f"bucket {settings.bucket}: nobody is known here without credentials", subject=settings.url)
    return site


def _account(site: Site, bucket: str) -> Site:
    """As the bucket's, for the account that owns it. Pure."""
    authority = site.authority.removeprefix(f"{bucket}.")
    scheme = site.origin.partition("://")[0]
    return replace(
        site, origin=f"{scheme}://{authority}", authority=authority, base=site.base.removesuffix(f"/{bucket}")
    )


def _asked(
    method: str,
    site: Site,
    settings: BucketSettings,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> urllib3.BaseHTTPResponse:
    """An answer that is one, asked for again where the store had a moment of weakness."""
    import urllib3

    again = urllib3.Retry(
        total=2,
        redirect=0,
        allowed_methods=None,
        status_forcelist=(429, 500, 502, 503, 504),
        backoff_factor=0.2,
        raise_on_status=False,
        raise_on_redirect=False,
    )
    signed = Presigner(site).headers(method, "", headers)
    url = f"{site.origin}{site.base}/"
    answer = call(method, url, settings, body=body, headers=signed, seconds=_SILENCE, retries=again)
    if answer.status >= 500 or answer.status == 429:
        raise UnreachableError(f"bucket {settings.bucket}: status {answer.status}", subject=settings.bucket)
    return answer


def _refused(answer: urllib3.BaseHTTPResponse, settings: BucketSettings) -> AccessError:
    code = text_of(answer.data, "Code") or f"status {answer.status}"
    what = "another account has it" if code == "BucketAlreadyExists" else f"refused: {code}"
    return AccessError(
        f"bucket {settings.bucket}: {what}",
        subject=settings.bucket,
        hint="look at the credentials, or choose another in [buckets]",
    )
