"""Web servers of one site on this machine: each with a webroot, settings and a state of its own, over one store."""

from __future__ import annotations

import os
import pwd
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from holdfast.sites.agreed import Agreed
from holdfast.sites.loading import load_site
from holdfast.sites.stores import Stores
from holdfast.sites.sync import Syncer
from holdfast.sites.watching import once
from holdfast.sites.webroot import QUIET
from tests.fakes import Notes
from tests.sites.conftest import SiteRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.sites.sync import Report

ME = pwd.getpwuid(os.geteuid()).pw_name


class Server(SiteRunner):
    """One web server: the program, run on its own folder."""

    @property
    def state(self) -> Path:
        """What it keeps of its sync."""
        return self.folder / "state" / "sync"

    def settings(self, store: str, text: str = "") -> None:
        """Write its ``site.toml``."""
        sync = "" if "sync_webroots" in text else "sync_webroots = 1\n"
        user = "" if "web_user" in text else f'web_user = "{ME}"\n'
        self.write(sync + user + text, stores=(), after=f'[[stores]]\nurl = "{store}"\n')

    def put(self, path: str, data: str | bytes, *, mode: int | None = None) -> Path:
        """Somebody writes a file."""
        target = self.webroot / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        if mode is not None:
            target.chmod(mode)
        return target

    def sync(self, *args: str, **environ: str | None):
        """``asset site sync`` as a process that must end well; its JSON."""
        return self.site("sync", *args, **environ)

    @contextmanager
    def opened(self) -> Iterator[Syncer]:
        """Its sync in this process."""
        site = load_site(str(self.folder / "site.toml"), None)
        first, *others = Stores(site.plan.stores, progress=Notes()).all
        opening = {store.url: (lambda store=store: store.repository) for store in others}
        with Agreed(self.state) as agreed:
            yield Syncer(first.repository, site.plan, agreed, others=opening)

    def once(self, **options: bool) -> Report:
        """Sync once, in this process."""
        with self.opened() as syncer:
            return once(syncer, **options)

    @property
    def tree(self) -> dict[str, object]:
        """The webroot: modes and bytes of files, modes of folders, targets of links."""
        found: dict[str, object] = {}
        for path in self.webroot.rglob("*"):
            mode = oct(path.lstat().st_mode & 0o7777)
            name = str(path.relative_to(self.webroot))
            if path.is_symlink():
                found[name] = str(path.readlink())
            else:
                found[name] = mode if path.is_dir() else (mode, path.read_bytes())
        return found

    @property
    def kept(self) -> list[bytes]:
        """What sync kept here."""
        return sorted(path.read_bytes() for path in (self.state / "kept").rglob("*") if path.is_file())


def servers_in(folder: Path, count: int, store: str | None = None, text: str = "") -> list[Server]:
    """So many servers with empty webroots."""
    if store is None:
        (folder / "store").mkdir(exist_ok=True)
        store = (folder / "store").as_uri()
    found = []
    for number in range(count):
        place = folder / f"web{number}"
        for name in ("home", "www"):
            (place / name).mkdir(parents=True)
        server = Server(place)
        server.settings(store, text)
        found.append(server)
    return found


def settle(*servers: Server, rounds: int = 4) -> None:
    """Let all of them sync until nobody has anything to do."""
    time.sleep(QUIET)
    with ExitStack() as stack:
        opened = [stack.enter_context(server.opened()) for server in servers]
        for _ in range(rounds):
            if all([once(syncer).is_quiet for syncer in opened]):  # noqa: C419 - each of them syncs
                quiet = [syncer.cycle() for syncer in opened]
                if all(each.is_quiet for each in quiet):
                    return
    raise AssertionError("they do not come to rest")
