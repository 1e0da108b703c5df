"""The credentials of a project: what may be in them, and that they are whole. They stand for themselves: none names a file, a
profile or a program of the server's machine, and what is missing is never looked for there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import UsageError
from holdfast.formats.api import decode_request

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["checked_credentials", "read_credentials"]

_KNOWN: Final = {
    "s3": {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_KMS_KEY_ID",
        "AWS_CHECKSUM_ALGORITHM",
        "AWS_UNSIGNED_PAYLOAD",
        "S3_FORCE_PATH_STYLE",
    },
    "gs": {"GOOGLE_SERVICE_ACCOUNT_KEY"},
    "az": {
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID",
    },
}
#: One of these sets must be there, or requests would be made in the name of the server's machine.
_WHOLE: Final = {
    "s3": ({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},),
    "gs": ({"GOOGLE_SERVICE_ACCOUNT_KEY"},),
    "az": (
        {"AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"},
        {"AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_SAS_TOKEN"},
        {"AZURE_STORAGE_CONNECTION_STRING"},
        {"AZURE_STORAGE_ACCOUNT_NAME", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"},
    ),
}
_SCHEMES: Final = {"s3": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az"}


def read_credentials(text: str) -> dict[str, str]:
    """Credentials out of a file: a JSON object of texts, or lines ``NAME=value``. No error shows a value.

    Raises:
        UsageError: it is neither.
    """
    if text.lstrip().startswith("{"):
        try:
            return decode_request(text.encode(), dict[str, str])
        except UsageError:
            raise UsageError("the credentials are no JSON object of texts", subject="credentials") from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip().removeprefix("export ")
        if bare and not bare.startswith("#"):
            name, equals, value = bare.partition("=")
            if not equals:
                raise UsageError(f"line {number} of the credentials is not NAME=value", subject="credentials")
            found[name.strip()] = value.strip().strip("\"'")
    return found


def checked_credentials(url: str, given: Mapping[str, str]) -> dict[str, str]:
    """The credentials of a store at a URL.

    Raises:
        UsageError: a name that has no place there, or they are not whole.
    """
    scheme = _SCHEMES.get(url.partition("://")[0])
    if scheme is None:
        raise UsageError("a folder takes no credentials", subject="credentials")
    strange = sorted(set(given) - _KNOWN[scheme])
    if strange:
        hint = f"a project on {scheme}:// takes {', '.join(sorted(_KNOWN[scheme]))}"
        raise UsageError(f"{strange[0][:100]!r} is no credential of a project", subject="credentials", hint=hint)
    if not any(all(given.get(name) for name in names) for names in _WHOLE[scheme]):
        ways = "; or ".join(", ".join(sorted(names)) for names in _WHOLE[scheme])
        raise UsageError("the credentials are not whole", subject="credentials", hint=f"needed: {ways}")
    if scheme == "gs":
        _check_account(given["GOOGLE_SERVICE_ACCOUNT_KEY"])
    return dict(given)


def _check_account(text: str) -> None:
    """A service account's key, and nothing that says where requests go."""
    try:
        account = decode_request(text.encode(), dict[str, Any])
    except UsageError:
        account = {}
    if not all(isinstance(account.get(name), str) and account[name] for name in ("private_key", "client_email")):
        hint = "GOOGLE_SERVICE_ACCOUNT_KEY is the JSON of a service account's key"
        raise UsageError("the credentials are not whole", subject="credentials", hint=hint)
    if "gcs_base_url" in account:
        raise UsageError("the credentials name an endpoint", subject="credentials", hint="--endpoint names it")
