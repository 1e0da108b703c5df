"""What programs ask that are signed in with a browser: a token for a code, or letters to show and then a token."""

from __future__ import annotations

from typing import Any

from litestar import Request, post
from litestar.params import JSONBody

from holdfast.formats.api import TokenReply
from holdfast.formats.signing import CodeRequest, DeviceReply, DeviceRequest, PolledReply, PollRequest
from holdfast.server import devices, given, handing
from holdfast.server.origin import client_address

__all__ = ["handlers"]

_ANYBODY = {"public": True}


@post("/login/code", opt=_ANYBODY, status_code=200, sync_to_thread=True)
def code(data: JSONBody[CodeRequest], service: given.Service, request: Request[Any, Any, Any]) -> TokenReply:
    """A token for what the browser brought; once."""
    address = client_address(request, service.settings.behind_proxy)
    return handing.exchange(service, data.code, data.verifier, data.label, address)


@post("/login/device", opt=_ANYBODY, status_code=200, sync_to_thread=True)
def device(data: JSONBody[DeviceRequest], service: given.Service, request: Request[Any, Any, Any]) -> DeviceReply:
    """Letters to show, and a secret to ask with."""
    return devices.ask(service, data.label, client_address(request, service.settings.behind_proxy))


@post("/login/device/token", opt=_ANYBODY, status_code=200, sync_to_thread=True)
def poll(data: JSONBody[PollRequest], service: given.Service, actor: given.Actor) -> PolledReply:
    """Whether somebody has typed the letters."""
    return devices.poll(service, data.code, actor)


handlers = [code, device, poll]
