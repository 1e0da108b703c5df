"""Specs: ``name[:version][[sub/path]]``, parsed in linear time (fault W15 of modelkit).

Example::

    >>> AssetSpec.parse("nlp/bert:1[config.json]")
    AssetSpec(name='nlp/bert', version='1', sub_path='config.json')
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import InvalidSpecError, InvalidVersionError, UsageError
from holdfast.model.name import check_readable
from holdfast.model.version import check_text

__all__ = ["AssetSpec", "check_sub_path"]


@dataclass(frozen=True, slots=True)
class AssetSpec:
    """What a caller asks for: a name; a full or partial version or an alias, None for the newest; a path inside, or None."""

    name: str
    version: str | None = None
    sub_path: str | None = None

    @classmethod
    def parse(cls, text: str) -> AssetSpec:
        """Read a spec.

        Raises:
            InvalidSpecError: brackets or colons out of place.
            InvalidNameError, InvalidVersionError: the part named is malformed.
        """
        body, sub_path = _split_brackets(text)
        name, colon, version = body.partition(":")
        if colon and not version:
            raise InvalidSpecError(f"invalid spec {text!r}: nothing after ':'", subject=text)
        if ":" in version:
            raise InvalidSpecError(f"invalid spec {text!r}: more than one ':'", subject=text)
        check_readable(name)
        if version:
            try:
                check_text(version)
            except InvalidVersionError as error:
                raise InvalidVersionError(f"{error.message} (in spec {text!r})", subject=text) from None
        return cls(name, version or None, sub_path)

    @classmethod
    def name_in(cls, text: str) -> str:
        """The name of an asset, which the text is.

        Raises:
            UsageError: it names a version, or a sub-path.
        """
        spec = cls.parse(text)
        if spec.version is not None or spec.sub_path is not None:
            raise UsageError(f"{text!r} is not an asset's name", subject=text, hint=f"without version: {spec.name}")
        return spec.name

    def whole(self, done: str) -> AssetSpec:
        """Itself, where it names no sub-path; ``done`` is what is done to whole versions alone.

        Raises:
            UsageError: it does.
        """
        if self.sub_path is not None:
            hint = f"leave the brackets out: {self.name}{f':{self.version}' if self.version else ''}"
            raise UsageError(f"whole versions are {done}, not {self}", subject=str(self), hint=hint)
        return self

    def __str__(self) -> str:
        version = f":{self.version}" if self.version else ""
        sub_path = f"[{self.sub_path}]" if self.sub_path else ""
        return f"{self.name}{version}{sub_path}"


def _split_brackets(text: str) -> tuple[str, str | None]:
    if "[" not in text and "]" not in text:
        return text, None
    body, bracket, rest = text.partition("[")
    if not bracket or not rest.endswith("]"):
        raise InvalidSpecError(f"invalid spec {text!r}: a sub-path stands in '[...]' at the end", subject=text)
    return body, check_sub_path(rest[:-1], text)


def check_sub_path(path: str, subject: str | None = None) -> str:
    """The path inside an asset without leading, trailing and doubled slashes.

    Raises:
        InvalidSpecError: empty, a ``.`` or ``..`` piece, or a NUL.
    """
    pieces = [piece for piece in path.split("/") if piece]
    if not pieces or "\0" in path or any(piece in (".", "..") for piece in pieces):
        raise InvalidSpecError(
            f"invalid sub-path {path!r}: pieces other than '.' and '..', joined by '/'", subject=subject
        )
    return "/".join(pieces)
