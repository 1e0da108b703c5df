"""The API as an OpenAPI document: what the framework reads off the handlers, and what it cannot know of them.

Every route may refuse, and says so in an ErrorReply (``failures``); whoever is asked for a token gives it as a bearer.

Example::

    truthful(app.openapi_schema.to_schema())["paths"]["/api/v1/info"]["get"]["responses"]["default"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar.openapi.plugins import JsonRenderPlugin

from holdfast.formats.api import ErrorReply
from holdfast.formats.messages import described

if TYPE_CHECKING:
    from litestar import Request

__all__ = ["Description", "truthful"]

_FAILURE: Final = {
    "description": "A failure: the status that the kind of error has, 401 for whoever is not signed in, 429 for who asks too often",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}},
}


class Description(JsonRenderPlugin):
    """The document as the framework's own routes give it."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The document, told the truth."""
        return super().render(request, truthful(openapi_schema))


def truthful(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what every operation may answer instead of what was asked for, and how one says who one is."""
    parts = document.get("components", {})
    schemas = parts.get("schemas", {}) | described(ErrorReply)
    scheme = {"type": "http", "scheme": "bearer", "description": "a token, of asset login or asset token create"}
    paths = {path: _refusing(item) for path, item in document["paths"].items()}
    components = parts | {"schemas": schemas, "securitySchemes": {"token": scheme}}
    return document | {"paths": paths, "components": components, "security": [{"token": []}, {}]}


def _refusing(item: dict[str, Any]) -> dict[str, Any]:
    """A path's operations, each of which may refuse; the framework's own idea of a refusal is taken out."""
    made = dict(item)
    for method, operation in item.items():
        if isinstance(operation, dict) and "responses" in operation:
            kept = {status: answer for status, answer in operation["responses"].items() if status < "400"}
            made[method] = operation | {"responses": kept | {"default": _FAILURE}}
    return made
