"""``asset login``, ``logout`` and ``whoami``: who one is on a server, and the token that this machine keeps for it."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from holdfast.cli.options import Session, command, dry_run
from holdfast.cli.output import marked, print_json, print_lines
from holdfast.config import file, key_named
from holdfast.config.tokens import Kept, Tokens, origin_of
from holdfast.errors import AccessError, HoldfastError, UsageError
from holdfast.wiring import open_server

if TYPE_CHECKING:
    from holdfast.config import Settings
    from holdfast.formats.api import InfoReply, TokenRow, WhoamiReply
    from holdfast.remote import Server

__all__ = ["day", "login_command", "logout_command", "server_address", "signed_in", "token_value", "whoami_command"]


def server_address(settings: Settings) -> str:
    """The server that the settings name, by itself or as a project's URL.

    Raises:
        UsageError: they name none.
    """
    if settings.store is not None and settings.store.startswith(("http://", "https://")):
        return settings.store.rpartition("/")[0]
    if settings.server is None:
        raise UsageError("no server is set", subject="server", hint="asset login https://HOST")
    return settings.server


def signed_in(session: Session, url: str | None = None) -> Server:
    """The server of the settings, or that of the URL, with a token for it.

    Raises:
        AccessError: there is none; nobody is asked then.
    """
    address = server_address(session.settings) if url is None else str(key_named("server").check(url))
    server = open_server(address, session.settings)
    if not server.authorization():
        raise AccessError(f"not signed in to {address}", subject=address, hint=f"asset login {address}")
    return server


@command("login")
@click.argument("url", required=False)
@click.option("--user", metavar="NAME", help="The name of a local account.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@click.option("--token-stdin", is_flag=True, help="Read a token from stdin, one line, instead of signing in.")
@click.option("--browser", is_flag=True, help="Sign in with the browser of this machine.")
@click.option("--device", is_flag=True, help="Sign in with the browser of another device.")
@dry_run
def login_command(
    session: Session,
    url: str | None,
    *,
    user: str | None,
    password_stdin: bool,
    token_stdin: bool,
    browser: bool,
    device: bool,
    dry_run: bool,
) -> None:
    """Sign in to a server, and make it the server of the settings.

    The token is kept on this machine for that server alone, in the key ring where there is one, else in a file that only you may
    read. Without a URL the server of the settings is meant. On a terminal the name and password are asked for.
    With --browser a page of the server opens, where one signs in in any way that it offers, and allows this program. With --device
    the program shows letters, which are typed at that server in the browser of any other device.

    Examples:
      asset login https://assets.example.com
      asset login https://assets.example.com --user ann --password-stdin < password
      asset login --token-stdin < token
      asset login https://assets.example.com --browser
    """
    if sum((password_stdin or user is not None, token_stdin, browser, device)) > 1:
        raise UsageError("only one way to sign in", hint="--user with --password-stdin, or --token-stdin, …")
    settings = session.settings
    address = str(key_named("server").check(url)) if url is not None else server_address(settings)
    _warn_in_the_clear(session, address)
    server = open_server(address, settings, signed_in=False)
    info = _info(server)
    if dry_run:
        name = _would_sign_in(session, server, info, user, token=token_stdin, browser=browser or device)
        _tell_would(session, address, name)
        return
    if browser or device:
        name, token, number = _by_browser(session, server, info, device=device)
    else:
        name, token, number = _by_token(settings, address) if token_stdin else _by_password(session, server, user)
    place = Tokens(settings.file.parent, settings.environ).keep(address, Kept(token, name, number))
    if settings.server is None or origin_of(settings.server) != origin_of(address) or settings.server != address:
        file.set_value(settings.file, "server", address, profile=settings.profile)
    _warn_of_others(session, address)
    if session.json:
        print_json({"server": address, "name": name, "kept": place})
    elif not session.quiet:
        print_lines([f"signed in to {address} as {name}; the token is in {place}"])


def _would_sign_in(
    session: Session, server: Server, info: InfoReply, user: str | None, *, token: bool, browser: bool
) -> str | None:
    """As whom one would sign in, where that is known. A token is proven; no password is asked for or sent, for that makes a token."""
    if browser:
        from holdfast.cli.browser import require_browser

        require_browser(server, info)
        return None
    if token:
        return _by_token(session.settings, server.url)[0]
    if session.interactive:
        return user
    name = user or _asked(session)
    _line("password")
    return name


def _tell_would(session: Session, address: str, name: str | None) -> None:
    settings = session.settings
    if settings.server != address:
        file.set_value(settings.file, "server", address, profile=settings.profile, write=False)
    if session.json:
        print_json(marked({"server": address, "name": name, "kept": None}, dry_run=True))
    elif not session.quiet:
        print_lines([f"would be signed in to {address}" + (f" as {name}" if name else "")])


def _info(server: Server) -> InfoReply:
    from holdfast.formats.api import InfoReply

    return server.ask("GET", "info", InfoReply)


def _by_token(settings: Settings, address: str) -> tuple[str, str, str]:
    from holdfast.formats.api import WhoamiReply
    from holdfast.remote import Server

    token = _line("token")
    found = Server(address, token, ca=settings.certificates).ask("GET", "whoami", WhoamiReply)
    return found.name, token, found.token.id


def _by_browser(session: Session, server: Server, info: InfoReply, *, device: bool) -> tuple[str, str, str]:
    from holdfast.cli import browser

    browser.require_browser(server, info)
    reply = browser.by_device(session, server) if device else browser.by_browser(session, server)
    return reply.name, reply.token, reply.row.id


def _by_password(session: Session, server: Server, user: str | None) -> tuple[str, str, str]:
    from holdfast.cli.browser import label
    from holdfast.formats.api import LoginRequest, TokenReply

    name = user or _asked(session)
    password = getpass.getpass(f"Password of {name}: ") if session.interactive else _line("password")
    reply = server.ask("POST", "login", TokenReply, body=LoginRequest(name, password, label()), again=False)
    return reply.name, reply.token, reply.row.id


def _asked(session: Session) -> str:
    if not session.interactive:
        raise UsageError("who are you?", subject="user", hint="--user NAME --password-stdin, or --token-stdin")
    return str(click.prompt("Name", default=getpass.getuser()))


def _line(what: str) -> str:
    """One line of stdin; a secret is never an argument."""
    text = "" if sys.stdin is None else sys.stdin.readline().rstrip("\r\n")
    if not text or not text.isprintable():
        raise UsageError(f"no {what} on stdin", subject=what, hint=f"one line, as in: … < {what}-file")
    return text


def _warn_in_the_clear(session: Session, address: str) -> None:
    """What is about to be sent can be read on its way, unless it stays on this machine."""
    host = urlsplit(address).hostname or ""
    here = host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)
    if address.startswith("http://") and not here:
        session.progress.warn(f"{address} is without TLS: who is on the way reads the password and every token")


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _warn_of_others(session: Session, address: str) -> None:
    """What is stronger than what was just set."""
    settings = session.settings
    if settings.environ.get("ASSET_SERVER_URL") and settings.server != address:
        session.progress.warn(f"ASSET_SERVER_URL is set to {settings.server}, and stronger than the settings' file")
    if settings.token is not None and settings.server is not None and origin_of(settings.server) == origin_of(address):
        session.progress.warn(
            f"the setting token ({settings.origins['token']}) is stronger than the token of this sign-in"
        )


@command("logout")
@click.argument("url", required=False)
@dry_run
def logout_command(session: Session, url: str | None, *, dry_run: bool) -> None:
    """Sign out of a server: the token that this machine keeps is revoked, and forgotten.

    Where the server does not answer, it is forgotten all the same, and a warning says until when it would be good.

    Examples:
      asset logout
    """
    settings = session.settings
    address = str(key_named("server").check(url)) if url is not None else server_address(settings)
    tokens = Tokens(settings.file.parent, settings.environ)
    kept = tokens.find(address)
    revoked = kept is not None and _revoked(session, address, kept, dry_run=dry_run)
    if not dry_run:
        tokens.forget(address)
    if session.json:
        value = {"server": address, "name": kept.name if kept else None, "revoked": revoked}
        print_json(marked(value, dry_run=dry_run))
    elif not session.quiet:
        out = f"would be signed out of {address}" if dry_run else f"signed out of {address}"
        print_lines([out if kept else f"was not signed in to {address}"])


def _revoked(session: Session, address: str, kept: Kept, *, dry_run: bool) -> bool:
    """Whether the token is revoked; in a dry run, whether the server answers to it, and so could revoke it."""
    from holdfast.formats.api import WhoamiReply
    from holdfast.remote import Server

    server = Server(address, kept.token, ca=session.settings.certificates)
    try:
        if dry_run:
            server.ask("GET", "whoami", WhoamiReply)
        else:
            server.ask("POST", "logout", type(None), again=False)
    except AccessError:  # it is no good any more
        return True
    except HoldfastError as error:
        was = "would not be" if dry_run else "was not"
        session.progress.warn(f"the token {kept.id} {was} revoked, and lives until it expires: {error.message}")
        return False
    return True


@command("whoami")
def whoami_command(session: Session) -> None:
    """Say who one is on the server, and what one may there.

    The token is proven by the server, which also tells when it ends. Not being signed in is exit 6.

    Examples:
      asset whoami
      asset whoami --json
    """
    from holdfast.formats.api import WhoamiReply

    server = signed_in(session)
    found = server.ask("GET", "whoami", WhoamiReply)
    if session.json:
        print_json(_whoami(server, found))
        return
    kind = " (a service account)" if found.service else " (an administrator)" if found.admin else ""
    lines = [f"{found.name}{kind} on {server.url}, by token {found.token.id} until {day(found.token.expires)}"]
    if found.groups:
        lines.append(f"groups: {', '.join(found.groups)}")
    lines += [f"{each.role} of {each.name} ({each.url})" for each in found.projects]
    print_lines(lines)


def _whoami(server: Server, found: WhoamiReply) -> dict[str, Any]:
    return {
        "server": server.url,
        "name": found.name,
        "admin": found.admin,
        "service": found.service,
        "groups": list(found.groups),
        "token": token_value(found.token),
        "projects": [{"name": each.name, "role": each.role, "url": each.url} for each in found.projects],
    }


def token_value(row: TokenRow) -> dict[str, Any]:
    """A token as JSON tells it: never its text."""
    names = ("id", "label", "created", "expires", "project", "role", "used")
    return {name: getattr(row, name) for name in names}


def day(seconds: float | None) -> str:
    """A moment for people."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
