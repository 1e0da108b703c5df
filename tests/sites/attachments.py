"""Web servers of one deployed site on this machine, over Ceph's gateway and real mounters; whatever is mounted is taken away at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import wiring
from holdfast.config import load
from holdfast.mount.table import detach, mounts
from tests.mount.live import PROGRAMS
from tests.services.base import wait_until
from tests.sites.conftest import SiteRunner, files_of, lay_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.store.base import Store
    from tests.e2e.conftest import Ended
    from tests.services import Service


ME = pwd.getpwuid(os.geteuid()).pw_name


class WebServer(SiteRunner):
    """One web server of a fleet: the program, run on its own webroot, state and home."""

    variables: dict[str, str]

    def environ(self, **more: str | None) -> dict[str, str]:
        """With the server's account, and the mounters."""
        places = {"HOLDFAST_MOUNT_PATH": PROGRAMS, "XDG_STATE_HOME": str(self.folder / "home/.local/state")}
        return super().environ(**{**self.variables, **places, "HOLDFAST_STORE": None, **more})

    @property
    def held(self) -> Path:
        """Where moved-aside copies lie."""
        return self.folder / ".www.held"

    def aside(self) -> dict[str, bytes]:
        """Every file that lies aside, under its path in the webroot."""
        found = {}
        for path, data in files_of(self.held).items() if self.held.exists() else ():
            name, _, rest = path.partition("/")
            found[f"{name.partition('~')[0]}/{rest}"] = data
        return found

    def images(self) -> dict[str, bytes]:
        """The files below the directory that is, or is not, mounted; without keys of ours."""
        found = files_of(self.webroot / "images")
        return {path: data for path, data in found.items() if not path.startswith(".holdfast")}

    def mounted(self) -> list[str]:
        """What is mounted below its folder."""
        return [each.dir for each in mounts() if each.dir.startswith(f"{self.folder}/")]

    def killed_unsent(self, path: str, data: bytes) -> None:
        """Write a file into the one mount that there is, and kill that once the mounter has noted the file, and before it has sent it."""
        (mount,) = self.ok("mounts", "--json").json
        notes = self.folder / "home/.local/state/holdfast/mounts"
        Path(mount["dir"], path).write_bytes(data)

        def noted() -> bool:
            found = (note.read_text() for note in notes.glob(f"*/cache/vfsMeta/**/{path}"))
            return any('"Dirty":true' in "".join(text.split()) for text in found)

        wait_until(noted, 10, "the mounter's note")
        for process in (mount["supervisor_pid"], mount["worker_pid"]):
            os.kill(process, signal.SIGKILL)
        assert self.ok("mounts", "--json").json[0]["unsent"] == [path]

    def fake(self, *args: str, **environ: str | None) -> Ended:
        """Run it, however it ends."""
        return self("site", *args, "--json", **environ)


class Fleet:
    """A site on a server, its build machine, and its web servers."""

    def __init__(
        self, service: Service, folder: Path, *, mounter: str = "rclone", text: str = "", user: str = ME
    ) -> None:
        self.service, self.folder, self.mounter, self.text, self.user = service, folder, mounter, text, user
        self.name = f"a{uuid.uuid4().hex[:10]}.example.com"
        self.store_url = service.fresh_store()
        self.variables = dict(service.env)
        self.servers: list[WebServer] = []
        self.build = self.server("build")

    @property
    def site(self) -> str:
        """The site's own name."""
        return self.name.replace(".", "-")

    def bucket(self, directory: str = "images") -> Store:
        """A bucket of media."""
        url = f"s3://{self.site}-assets-{directory}"
        return wiring.open_store(url, load({}, {**self.variables, "HOME": str(self.folder)}))

    def media(self, directory: str = "images") -> dict[str, bytes]:
        """What is in a bucket, but for keys of ours."""
        store = self.bucket(directory)
        keys = [info.key for info in store.list("") if not info.key.startswith(".holdfast/")]
        return {key: bytes(store.get(key).data) for key in keys}

    def fresh(self) -> str:
        """A name that no server has."""
        return f"web{len(self.servers)}"

    def server(
        self, name: str, *, empty: bool = False, persist: int = 1, text: str = "", mounter: str = ""
    ) -> WebServer:
        """A web server; its webroot holds the application, unless it is to be empty. ``mounter`` where it is another than the fleet's."""
        place = self.folder / name
        for inner in ("home", "www"):
            (place / inner).mkdir(parents=True, exist_ok=True)
        server = WebServer(place)
        object.__setattr__(server, "variables", self.variables)
        if not empty:
            lay_site(server.webroot)
        self.settings(server, persist, text, mounter)
        self.servers.append(server)
        return server

    def settings(self, server: WebServer, persist: int = 1, text: str = "", mounter: str = "") -> None:
        """Write a server's settings."""
        lines = [
            f'site_url = "{self.name}"',
            f"persist_assets_to_cloud = {persist}",
            f'mounter = "{mounter or self.mounter}"',
            f'web_user = "{self.user}"',
            self.text,
            text,
        ]
        server.write("\n".join(lines) + "\n", stores=(), after=f'[[stores]]\nurl = "{self.store_url}"\n')

    def deploy(self) -> None:
        """The seed's way: a backup with all media, then a deployment of it."""
        self.settings(self.build, 0)
        self.build.site("backup", "--period", "hourly")
        self.settings(self.build, 1)
        self.build.site("deploy", "--from", "hourly")

    def end(self) -> None:
        """Unmount everything; what a killed run left as well."""
        for server in self.servers:
            with suppress(OSError):
                server("unmount", "--all", "--discard")
        for _ in range(3):
            for each in reversed(mounts()):
                if each.dir.startswith(f"{self.folder}/"):
                    detach(each.dir)
        if shutil.which("chattr") and os.geteuid() == 0:
            subprocess.run(["chattr", "-R", "-i", self.folder], capture_output=True, check=False)


@contextmanager
def fleet_of(service: Service, folder: Path, *, mounter: str = "rclone", text: str = "") -> Iterator[Fleet]:
    """A deployed site."""
    fleet = Fleet(service, folder, mounter=mounter, text=text)
    try:
        fleet.deploy()
        yield fleet
    finally:
        fleet.end()
