"""Programs that are signed in with a browser: one on this machine, which opened this page, or one elsewhere, which shows letters.

Neither gets anything before somebody who is signed in has said so on a page that names what asks.
"""

from __future__ import annotations

from typing import Any

from litestar import Request, get, post
from litestar.params import FromQuery
from litestar.response import Response

from holdfast.errors import NotFoundError
from holdfast.server import devices, given, handing
from holdfast.server.audit import note
from holdfast.server.pages.rendering import POLICY, page, redirect

__all__ = ["handlers"]

_SIGNED_IN = {"signed_in": True}


@get("/login/program", opt=_SIGNED_IN, sync_to_thread=False)
def show(
    request: Request[Any, Any, Any], port: FromQuery[str], challenge: FromQuery[str], nonce: FromQuery[str]
) -> Response[str]:
    """A program on the browser's machine asks."""
    asked = handing.asking(port, challenge, nonce)
    policy = POLICY.replace("form-action 'self'", f"form-action 'self' http://127.0.0.1:{asked.port}")
    return page(request, "program.html", headers={"Content-Security-Policy": policy}, asked=asked)


@post("/login/program", opt=_SIGNED_IN, status_code=200, sync_to_thread=True)
def answer(service: given.Service, principal: given.Principal, actor: given.Actor, form: given.Form) -> Response[str]:
    """It is allowed, or refused, and told so at its port of this machine."""
    asked = handing.asking(form.get("port", ""), form.get("challenge", ""), form.get("nonce", ""))
    if form.get("answer") == "allow":
        return redirect(handing.hand_over(service, principal, asked))
    with service.database.write() as connection:
        note(connection, actor, service.now(), "program.refuse")
    return redirect(asked.address(error="refused"))


@get("/login/device", opt=_SIGNED_IN, sync_to_thread=False)
def ask(request: Request[Any, Any, Any]) -> Response[str]:
    """Where the letters are typed."""
    return page(request, "device.html", letters="", waiting=None, problem=None, done=None)


@post("/login/device", opt=_SIGNED_IN, status_code=200, sync_to_thread=True)
def decide(
    request: Request[Any, Any, Any],
    service: given.Service,
    principal: given.Principal,
    actor: given.Actor,
    form: given.Form,
) -> Response[str]:
    """Which program shows these letters; then, whether it is allowed."""
    letters, said = form.get("letters", "")[:100], form.get("answer", "")
    found, problem, done = None, None, None
    try:
        if said in ("allow", "refuse"):
            devices.decide(service, principal, actor, letters, allow=said == "allow")
            done = said
        else:
            found = devices.waiting(service, principal, letters, actor.address)
    except NotFoundError as error:
        problem = error.message
    status = 404 if problem else 200
    return page(request, "device.html", status, letters=letters, waiting=found, problem=problem, done=done)


handlers = [show, answer, ask, decide]
