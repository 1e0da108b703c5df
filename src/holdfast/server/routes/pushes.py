"""A push from its record to its commit."""

from __future__ import annotations

from litestar import post
from litestar.params import FromPath, JSONBody

from holdfast.formats.api import MetaReply, NumberRequest, PublishRequest, PushReply, PushRequest
from holdfast.server import given, pushing
from holdfast.server.access import Role

__all__ = ["handlers"]

_WRITER = {"role": Role.WRITER}
#: A meta lists the files of a version: so many bytes of a commit's body, at most.
_META_BODY = 32 << 20


@post("/pushes", opt=_WRITER, status_code=200, sync_to_thread=True)
def open_push(project: given.Project, data: JSONBody[PushRequest], service: given.Service) -> PushReply:
    """Write the record of a push."""
    return pushing.open_push(project, service.clock, data)


@post("/pushes/{push:str}/renew", opt=_WRITER, status_code=200, sync_to_thread=True)
def renew(project: given.Project, push: FromPath[str], data: JSONBody[PushRequest]) -> PushReply:
    """Say that the push is alive."""
    del data
    return pushing.renew(project, push)


@post("/pushes/{push:str}/close", opt=_WRITER, status_code=200, sync_to_thread=True)
def close(project: given.Project, push: FromPath[str], data: JSONBody[PushRequest]) -> PushReply:
    """Say that the push has ended."""
    del data
    return pushing.close(project, push)


@post("/pushes/{push:str}/claim", opt=_WRITER, status_code=204, sync_to_thread=True)
def claim(project: given.Project, push: FromPath[str], data: JSONBody[NumberRequest]) -> None:
    """Take a number, create-only."""
    pushing.claim(project, push, data)


@post("/pushes/{push:str}/check", opt=_WRITER, status_code=204, sync_to_thread=True)
def check(project: given.Project, push: FromPath[str], data: JSONBody[NumberRequest]) -> None:
    """Whether the claim is still this push's."""
    pushing.check_claim(project, push, data)


@post("/pushes/{push:str}/withdraw", opt=_WRITER, status_code=204, sync_to_thread=True)
def withdraw(
    project: given.Project, service: given.Service, push: FromPath[str], data: JSONBody[NumberRequest]
) -> None:
    """Say for ever that the push's own version must not be used."""
    now = service.now()
    pushing.withdraw(project, push, data)
    service.copies.follow(project, data.name, now)


@post("/pushes/{push:str}/publish", opt=_WRITER, status_code=200, sync_to_thread=True, request_max_body_size=_META_BODY)
def publish(
    project: given.Project,
    service: given.Service,
    actor: given.Actor,
    push: FromPath[str],
    data: JSONBody[PublishRequest],
) -> MetaReply:
    """The commit: every object is looked for, then the meta is written."""
    reply = pushing.publish(project, service.database, push, data)
    service.noted(actor, "publish", f"{data.name}:{data.version}", project.name)
    return reply


handlers = [open_push, renew, close, claim, check, withdraw, publish]
