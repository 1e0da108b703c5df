"""A site's own names in its files, replaced by neutral placeholders and back: pure, on bytes, exact.

A placeholder is ``@@site-<which>-<salt>@@``, with a salt that none of the files holds, so that putting names in can never meet a
text that was there before. Names are replaced where they stand alone. What is no text, and what holds a name within serialized
data, whose lengths would be wrong then, is left as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import UsageError
from holdfast.model.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LARGEST", "Names", "is_text", "names_of", "salts"]

#: Larger files are no text that somebody wrote.
LARGEST: Final = 8 * 1024 * 1024
_MARK: Final = "@@site-"
#: A display name of one short word may be a word of the code.
_SHORTEST: Final = 8


def names_of(site_url: str, display_name: str) -> tuple[dict[str, str], str | None]:
    """Which → name, the longest first; and why the display name is not among them, where it is not."""
    found = {"host": site_url}
    root = site_url.partition(".")[2]
    if "." in root:
        found["domain"] = root
    if not display_name:
        return found, None
    if len(display_name) < _SHORTEST and " " not in display_name:
        return (
            found,
            f"display_name {display_name!r} is one short word, which code may hold too: it is left in the files",
        )
    cases = {
        "name": display_name,
        "upper": display_name.upper(),
        "lower": display_name.lower(),
        "title": display_name.title(),
    }
    seen: set[str] = set()
    for which, text in cases.items():
        if text not in seen:
            seen.add(text)
            found[which] = text
    return found, None


def salts(site: str) -> tuple[str, ...]:
    """Salts to be tried in turn: the same for each baseline of a site, so that an unchanged one is found unchanged."""
    return tuple(digest_of(f"{site}\0{number}".encode())[:8] for number in range(16))


def is_text(data: bytes) -> bool:
    """Whether it is text in UTF-8."""
    if len(data) > LARGEST or b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True)
class Names:
    """The names of one site, with one salt."""

    names: Mapping[str, str]
    salt: str

    def token(self, which: str) -> bytes:
        """The placeholder of a name."""
        return f"{_MARK}{which}-{self.salt}@@".encode()

    def stands_in(self, data: bytes) -> bool:
        """Whether a file holds the salt already: then another must be taken."""
        return self.salt.encode() in data

    def neutral(self, data: bytes) -> bytes:
        """The file with placeholders for the names, all found in one pass."""
        which = {name.encode(): each for each, name in self.names.items()}
        return _alone(tuple(which)).sub(lambda match: self.token(which[match[0]]), data)

    def own(self, data: bytes) -> bytes:
        """The file with the names for the placeholders.

        Raises:
            UsageError: a placeholder has no name here.
        """
        mark = re.compile(re.escape(_MARK.encode()) + rb"([a-z]+)-" + self.salt.encode() + b"@@")

        def name(match: re.Match[bytes]) -> bytes:
            which = match[1].decode()
            if which not in self.names:
                key = "site_url" if which in ("host", "domain") else "display_name"
                raise UsageError(
                    f"the baseline has places for {key}, which is not set here", subject=key, hint=f"set {key}"
                )
            return self.names[which].encode()

        return mark.sub(name, data)

    def in_serialized(self, data: bytes) -> bool:
        """Whether a name stands in serialized data (``s:15:"www.example.com"``), whose lengths count."""
        names = b"|".join(re.escape(name.encode()) for name in self.names.values())
        return re.search(rb's:\d+:\\?"[^"\n]*(?:' + names + rb")", data) is not None


def _alone(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """The names where no other word or label goes on before or behind them; the longest counts."""
    any_of = b"|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rb"(?<![A-Za-z0-9_-])(?:" + any_of + rb")(?![A-Za-z0-9_-]|\.[A-Za-z0-9])")
