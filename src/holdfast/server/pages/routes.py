"""Every page, as one router: what the application adds to the API."""

from __future__ import annotations

from typing import Final

from litestar import Router

from holdfast.server.pages import browsing, elsewhere, managing, programs, showing, signing, statics
from holdfast.server.pages.failing import PAGE_HANDLERS

__all__ = ["pages"]

#: Where the pages of one project lie.
_PROJECT: Final = "/projects/{project_name:str}"


def pages() -> Router:
    """The pages."""
    project = [*browsing.project_handlers, *showing.project_handlers, *managing.project_handlers]
    return Router(
        "/",
        route_handlers=[
            *statics.handlers,
            *signing.handlers,
            *elsewhere.handlers,
            *programs.handlers,
            *browsing.handlers,
            *managing.handlers,
            Router(_PROJECT, route_handlers=project),
        ],
        opt={"page": True},
        exception_handlers=PAGE_HANDLERS,
        include_in_schema=False,
    )
