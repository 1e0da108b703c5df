"""ID tokens: who a provider says that somebody is, believed only where its signature and every claim that says for whom are right.

Pure: keys and the moment are given. The algorithms are a list of ours, of signatures by key pairs alone; what the token or the keys ask
for does not widen it (so neither ``none``, nor a MAC with a public key).

Example::

    claims = verified(token, keys, Expected(issuer, client_id, nonce), now)
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from joserfc.jws import JWSRegistry

from holdfast.errors import AccessError

__all__ = ["ALGORITHMS", "Expected", "Person", "UnknownKeyError", "key_set", "person_of", "verified"]

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
#: Seconds by which the clocks of provider and server may differ.
_LEEWAY: Final = 60
_LONGEST: Final = 16_000
_LONGEST_SUBJECT: Final = 255
_LONGEST_ADDRESS: Final = 254
_MOST_GROUPS: Final = 1000
_registry: Final = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)


class UnknownKeyError(AccessError):
    """The token is signed with a key that is not among the provider's: perhaps they are newer."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say: whose it is, for whom, and for which sign-in."""

    issuer: str
    client: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as a provider knows them. ``email`` is the verified address, in lower case, or None; ``groups`` is None where not told."""

    issuer: str
    subject: str
    email: str | None
    groups: tuple[str, ...] | None = None


def key_set(document: Any) -> KeySet:
    """The keys of a provider that sign: RSA and EC; others, and what cannot be read, are left out."""
    listed = document.get("keys") if isinstance(document, dict) else None
    given = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    found = [_key(each) for each in given if each.get("use", "sig") == "sig"]
    return KeySet([each for each in found if each is not None])


def verified(token: str, keys: KeySet, expected: Expected, now: float) -> dict[str, Any]:
    """The claims of an ID token.

    Raises:
        UnknownKeyError: none of these keys signed it.
        AccessError: it is not to be believed.
    """
    if len(token) > _LONGEST:
        raise _refused("it is too long")
    try:
        decoded = jwt.decode(token, keys, algorithms=ALGORITHMS, registry=_registry)
        claims = dict(decoded.claims)
        jwt.JWTClaimsRegistry(
            now=int(now),
            leeway=_LEEWAY,
            iss={"essential": True, "value": expected.issuer},
            sub={"essential": True},
            aud={"essential": True, "value": expected.client},
            exp={"essential": True},
            iat={"essential": True},
        ).validate(claims)
    except InvalidKeyIdError:
        raise UnknownKeyError("the provider's token is signed with a key that it does not show") from None
    except ExpiredTokenError:
        raise _refused("it has expired") from None
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _refused(getattr(error, "description", "") or type(error).__name__) from None
    _check(claims, expected)
    return claims


def person_of(claims: dict[str, Any], groups_claim: str | None) -> Person:
    """Who the claims tell of."""
    address = claims.get("email")
    usable = isinstance(address, str) and claims.get("email_verified") is True and _is_address(address)
    groups = None
    if groups_claim is not None:
        listed = claims.get(groups_claim, [])
        listed = [listed] if isinstance(listed, str) else listed if isinstance(listed, list) else []
        groups = tuple(each for each in listed[:_MOST_GROUPS] if isinstance(each, str))
    return Person(claims["iss"], claims["sub"], str(address).lower() if usable else None, groups)


def _key(each: dict[str, Any]) -> RSAKey | ECKey | None:
    try:
        if each.get("kty") == "RSA":
            return RSAKey.import_key(each)
        return ECKey.import_key(each) if each.get("kty") == "EC" else None
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _check(claims: dict[str, Any], expected: Expected) -> None:
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise _refused("it is not of this sign-in")
    audience, party = claims["aud"], claims.get("azp")
    several = isinstance(audience, list) and len(audience) > 1
    if party != expected.client and (several or party is not None):
        raise _refused("it was made for another party")
    if not claims["sub"].strip() or len(claims["sub"]) > _LONGEST_SUBJECT:
        raise _refused("it names nobody")


def _is_address(text: str) -> bool:
    name, _, domain = text.rpartition("@")
    plain = text.isascii() and text.isprintable() and not any(each in text for each in ' <>,;:"\\()[]')
    return bool(name and domain) and "@" not in name and plain and len(text) <= _LONGEST_ADDRESS


def _refused(why: str) -> AccessError:
    return AccessError(f"the provider's token is refused: {why}", hint="sign in again; if it stays so, tell an admin")
