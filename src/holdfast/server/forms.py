"""What a browser sends with a form: its fields, and the mark that proves that this server showed it to this browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from holdfast.errors import AccessError, UsageError

if TYPE_CHECKING:
    from litestar import Request

__all__ = ["MARK", "read", "refused"]

#: The field, or header, that holds the mark.
MARK: Final = "form_mark"
_HEADER: Final = "x-form-mark"
_TYPE: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 50


async def read(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The fields of a form, each once; the mark of a header among them.

    Raises:
        AccessError: it was sent by a page of somebody else, and the browser says so.
        UsageError: it is no form.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise refused()
    body = await request.body()
    if body and request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        raise UsageError("a form is expected", subject="body")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise UsageError("the form cannot be read", subject="body") from None
    fields = {name: value.strip("\r\n") for name, value in pairs}
    mark = request.headers.get(_HEADER)
    return fields if mark is None else fields | {MARK: mark}


def refused() -> AccessError:
    """The answer to a form that was not shown here: too old, or somebody else's."""
    return AccessError(
        "this form is too old, or not of this page", hint="go back, load the page again, and send it then"
    )
