"""AWS credentials, region and endpoint as AWS's own tools find them.

Keys from the environment need nothing of this: the store takes them as they are and botocore is never imported. Otherwise
:class:`AwsChain` asks botocore's own chain (profile, SSO, ``credential_process``, web identity, container and instance roles)
and renews what expires; the object-store client calls it whenever its copy is about to expire, also in the middle of a long
transfer. :func:`from_config_file` reads a profile's region and endpoint without botocore, because that is needed with static keys too.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import AccessError, HoldfastError, UnreachableError, UsageError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from typing import NotRequired, TypedDict

    class Credential(TypedDict):
        """One set of AWS credentials, in the client's spelling; ``expires_at`` None means never."""

        access_key_id: str
        secret_access_key: str
        token: NotRequired[str | None]
        expires_at: datetime | None


__all__ = ["AwsChain", "ProfileValues", "StaticKeys", "from_config_file"]

#: Seconds; a token service that does not answer must not hold a command for minutes.
_CONNECT, _READ = 3, 5
_HINT = (
    "looked at: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile (AWS_PROFILE; ~/.aws/credentials, ~/.aws/config "
    "with SSO and credential_process), web identity (AWS_WEB_IDENTITY_TOKEN_FILE), the container's and the instance's role; "
    "set one of them"
)


class StaticKeys:
    """Keys that were given and never expire."""

    failure: HoldfastError | None = None

    def __init__(self, access_key: str, secret_key: str, session_token: str | None) -> None:
        self._given = access_key, secret_key, session_token

    def __call__(self) -> Credential:
        """The keys."""
        access, secret, token = self._given
        return {"access_key_id": access, "secret_access_key": secret, "token": token, "expires_at": None}


class AwsChain:
    """Botocore's chain as a callable; safe from several threads.

    ``failure`` is what the last call raised, for the client that calls us hands on only a text.
    """

    def __init__(self, profile: str | None = None) -> None:
        self.profile = profile
        self.failure: HoldfastError | None = None
        self._lock = threading.Lock()
        self._found: Any = None

    def __call__(self) -> Credential:
        """Credentials that are good for at least the next minutes, with the time when they end.

        Raises:
            AccessError: there are none, or those there are cannot be used (an SSO login that ended, say).
            UnreachableError: the service that hands them out did not answer.
        """
        with self._lock:
            try:
                answer = self._ask()
            except HoldfastError as error:
                self.failure = error
                raise
            self.failure = None
            return answer

    def _ask(self) -> Credential:
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            HTTPClientError,
        )

        try:
            if self._found is None:
                self._found = _session(self.profile).get_credentials()
            if self._found is None:
                raise AccessError("no AWS credentials were found", subject="credentials", hint=_HINT)
            # Renews what ends within ten minutes (botocore's own rule), so what we hand out is fresh.
            keys = self._found.get_frozen_credentials()
        except HTTPClientError as error:
            message = f"the service that hands out AWS credentials did not answer: {error}"
            raise UnreachableError(message, subject="credentials", hint=self._where()) from error
        except (BotoCoreError, ClientError) as error:
            message = f"AWS credentials could not be had: {error}"
            raise AccessError(message, subject="credentials", hint=self._where()) from error
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            # Private, but botocore offers no other way to the time; None where they do not end.
            "expires_at": getattr(self._found, "_expiry_time", None),
        }

    def _where(self) -> str:
        return f"look at profile {self.profile!r} (AWS_PROFILE)" if self.profile else _HINT


def _session(profile: str | None) -> Any:
    """A botocore session that gives up on token services within seconds."""
    import botocore.session
    from botocore.config import Config

    session = botocore.session.Session(profile=profile)
    bounded = Config(connect_timeout=_CONNECT, read_timeout=_READ, retries={"total_max_attempts": 2})
    session.set_default_client_config(bounded)
    return session


@dataclass(frozen=True, slots=True)
class ProfileValues:
    """What a profile says besides credentials."""

    region: str | None = None
    endpoint: str | None = None


def from_config_file(path: Path | None, profile: str | None) -> ProfileValues:
    """Region and S3 endpoint of a profile in AWS's config file; nothing where the file is not there.

    The endpoint is ``endpoint_url`` under ``s3`` of the profile's ``services`` section, else the profile's ``endpoint_url``.

    Raises:
        UsageError: the file is there and cannot be read as one.
    """
    from configparser import ConfigParser
    from configparser import Error as ConfigError

    parser = ConfigParser(interpolation=None, strict=False, default_section="")
    try:
        with open(path or "", encoding="utf-8") as file:
            parser.read_file(file)
    except OSError:
        return ProfileValues()
    except (ConfigError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", subject=str(path), hint="see AWS_CONFIG_FILE") from error
    name = profile or "default"
    section = next((s for s in (f"profile {name}", name) if parser.has_section(s)), None)
    if section is None:
        return ProfileValues()
    values = parser[section]
    if values.get("ignore_configured_endpoint_urls", "").lower() == "true":
        return ProfileValues(values.get("region"))
    services = f"services {values.get('services', '')}"
    nested = parser[services].get("s3", "") if parser.has_section(services) else ""
    return ProfileValues(values.get("region"), _nested(nested).get("endpoint_url") or values.get("endpoint_url"))


def _nested(text: str) -> dict[str, str]:
    """The indented ``key = value`` lines below an entry, as botocore reads them."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}
