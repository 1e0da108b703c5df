"""What may be said to a push and to a fetch from Python: only options that there are, with values that can be meant. Pure.

One text where several may be given (patterns, inputs) means just that one, and is not taken letter by letter.

Example::

    >>> checked_fetch({"include": "*.json"})
    {'include': ('*.json',)}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from holdfast.errors import UsageError, nearest
from holdfast.model.result import FetchOptions, PushOptions

__all__ = ["checked_fetch", "checked_push"]

_ONLY: Final = ("new", "update")
_TEXTS: Final = ("major", "version", "initial", "parent", "message", "alias", "layout")
_SEVERAL: Final = ("exclude", "include", "inputs")
_FLAGS: Final = ("new_major", "follow_links", "dry_run", "unchanged", "listed", "offline", "force")


def checked_push(options: Mapping[str, Any]) -> PushOptions:
    """The options of a push, with every one of several texts as a tuple.

    Raises:
        UsageError: there is no such option, or not with this value; it is named.
    """
    found = _checked("push", options, PushOptions.__annotations__)
    only, labels = found.get("only"), found.get("labels")
    if only is not None and only not in _ONLY:
        raise UsageError(f"only={only!r} of a push is none of {', '.join(map(repr, _ONLY))}", subject="only")
    if labels is None:
        found.pop("labels", None)
    elif not isinstance(labels, Mapping) or not all(isinstance(text, str) for pair in labels.items() for text in pair):
        raise UsageError("labels= of a push takes a dict of texts", subject="labels", hint="labels={'team': 'nlp'}")
    _check_kept("message", [found.get("message") or ""])
    _check_kept("label", [text for pair in (labels or {}).items() for text in pair])
    return cast("PushOptions", found)


def checked_fetch(options: Mapping[str, Any]) -> FetchOptions:
    """The options of a fetch, with every one of several texts as a tuple.

    Raises:
        UsageError: there is no such option, or not with this value, or two of them contradict each other.
    """
    found = _checked("fetch", options, FetchOptions.__annotations__)
    if found.get("offline") and found.get("force") and found.get("to") is None:
        hint = "leave one of them out"
        raise UsageError("force downloads again, and offline asks no store", subject="force", hint=hint)
    return cast("FetchOptions", found)


def _checked(verb: str, options: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    found = dict(options)
    for name, value in options.items():
        if name not in known:
            raise UsageError(f"a {verb} has no option {name!r}", subject=name, hint=nearest(name, [*known]))
        if name in _SEVERAL:
            found[name] = _several(verb, name, value)
        elif name in _TEXTS and not isinstance(value, str | None):
            raise UsageError(f"{name}= of a {verb} takes a text, not {value!r}", subject=name)
        elif name in _FLAGS and isinstance(value, str):  # "no" would be true
            raise UsageError(f"{name}= of a {verb} takes True or False, not {value!r}", subject=name)
    return found


def _check_kept(name: str, texts: Iterable[str]) -> None:
    """UsageError where a text that a version keeps is none in UTF-8, before anything is sent."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"the {name} {text!r} is not UTF-8", subject=name) from None


def _several(verb: str, name: str, value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    texts = tuple(value) if isinstance(value, Iterable) else (value,)
    if all(isinstance(text, str) for text in texts):
        return texts
    raise UsageError(f"{name}= of a {verb} takes a text or several, not {value!r}", subject=name)
