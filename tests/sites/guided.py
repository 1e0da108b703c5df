"""The machines of the operator's guide, on this one: each with folders, a host name and an environment of its own, over Ceph's gateway.

What the guide calls ``/etc/holdfast``, ``s3.example.com`` and the like is exchanged for what the test has, and back in what is printed:
:meth:`World.table` is all of it. ``systemctl`` is a program beside this one that starts what the same units start.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.mount.table import detach, mounts
from tests.docs.typed import missed
from tests.services.base import free_port, make_bucket
from tests.sites.conftest import lay_site

if TYPE_CHECKING:
    from tests.docs.typed import Typed, Written
    from tests.mount.forwarder import Forwarder
    from tests.services import Service

MACHINES: Final = ("build", "web1", "web2", "web3")
PROGRAMS: Final = Path(sys.executable).parent
_FAKETIME: Final = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")
#: More than a replication believes to have been deleted at once.
IMAGES: Final = 59
#: Seconds that a command may take.
_PATIENCE: Final = 120.0


class World:
    """All machines, the store, and what was printed."""

    def __init__(self, service: Service, way: Forwarder, folder: Path) -> None:
        self.service, self.way, self.folder = service, way, folder
        token = uuid.uuid4().hex[:8]
        self.site, self.bucket, self.copies = f"g{token}.example.net", f"g{token}-holdfast", f"g{token}-copies"
        self.moved = f"g{token}-moved"
        self.clocks: dict[str, str] = {}
        self.ports = {name: free_port() for name in MACHINES}
        self.keys = {name: f"{name}{token}" for name in ("AKIABUILD", "AKIAWEB", "AKIANEW")}
        for name in self.keys:
            self.key("create", name)
        self.log: list[str] = []
        for name in MACHINES:
            for inner in ("etc", "www", "lib", "srv", "root", "systemd", "bin", "log"):
                (folder / name / inner).mkdir(parents=True)
            for place in (folder / name, folder / name / "www"):
                place.chmod(0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g,mode=700", "tmpfs", folder / "web3/root"], check=True)
        lay_site(self.place("web1", "/var/www/html"))
        images = self.place("web1", "/var/www/html/images/2026")
        images.mkdir()
        for number in range(IMAGES):
            (images / f"{number}.jpg").write_bytes(os.urandom(900))

    def table(self, machine: str) -> list[tuple[str, str]]:
        """What the guide says, and what stands for it on a machine; the longer first."""
        here = self.folder / machine
        places = [
            ("/etc/holdfast", "etc"),
            ("/etc/systemd/system", "systemd"),
            ("/var/www", "www"),
            ("/var/lib/holdfast", "lib"),
            ("/srv", "srv"),
            ("/root", "root"),
            ("/usr/local/bin", "bin"),
            ("/var/log", "log"),
        ]
        return [
            *((said, str(here / real)) for said, real in places),
            ("/opt/holdfast/bin", str(PROGRAMS)),
            ("https://s3.example.com", f"http://127.0.0.1:{self.way.port}"),
            ("https://s3.elsewhere.example", self.service.env["AWS_ENDPOINT_URL"]),
            ("eu-central-1", "us-east-1"),
            ("example-holdfast", self.bucket),
            ("example-copies", self.copies),
            ("example-moved", self.moved),
            ("www.example.com", self.site),
            ("www-example-com", self.site.replace(".", "-")),
            ("127.0.0.1:8290", f"127.0.0.1:{self.ports[machine]}"),
            *self.keys.items(),
        ]

    def real(self, machine: str, text: str) -> str:
        """The guide's text for this machine."""
        return self._exchanged(text, self.table(machine))

    def said(self, machine: str, text: str) -> str:
        """What was printed, in the guide's words."""
        table = [(real, said) for said, real in self.table(machine)]
        return self._exchanged(text, table)

    @staticmethod
    def _exchanged(text: str, table: list[tuple[str, str]]) -> str:
        known = dict(reversed(table))
        words = sorted(known, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, words)), lambda found: known[found[0]], text)

    def place(self, machine: str, path: str) -> Path:
        """A path of the guide's on a machine."""
        return Path(self.real(machine, path))

    def environ(self, machine: str) -> dict[str, str]:
        """What a shell there has."""
        home = self.folder / machine / "root"
        found = {
            "HOME": str(home),
            "PATH": f"{Path(__file__).parent / 'stands_in'}:{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin",
            "XDG_STATE_HOME": str(home / ".local/state"),
            "PYTHONWARNINGS": "error",
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            "GUIDE_UNITS": str(self.folder / machine / "systemd"),
        }
        if machine in self.clocks:
            found |= {"LD_PRELOAD": _FAKETIME, "FAKETIME": self.clocks[machine], "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return found | ({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {})

    def machines(self, prompt: str) -> tuple[str, ...]:
        """Which a prompt means: ``web`` is each web server, ``all`` each machine."""
        return {"web": MACHINES[1:], "all": MACHINES}.get(prompt, (prompt,))

    def run(self, machine: str, command: str) -> tuple[int, str]:
        """Type a command; its code, and all that it printed, in the guide's words."""
        if command.startswith("scp "):
            return self._copy(machine, *shlex.split(command)[-2:])
        shell = f"echo {machine} > /proc/sys/kernel/hostname && exec bash -c {shlex.quote(self.real(machine, command))}"
        done = subprocess.run(
            ["unshare", "--uts", "bash", "-c", shell],
            cwd=self.folder / machine / "etc",
            env=self.environ(machine),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        return done.returncode, self.said(machine, done.stdout)

    def _copy(self, machine: str, source: str, target: str) -> tuple[int, str]:
        """``scp`` to another machine: the text in the words of that one, with the same mode."""
        there, _, path = target.partition(":")
        before = self.folder / machine / "etc" / self.real(machine, source)
        after = self.place(there, f"{path}{before.name}")
        after.write_text(self.real(there, self.said(machine, before.read_text())))
        after.chmod(before.stat().st_mode)
        return 0, ""

    def follow(self, step: Typed) -> None:
        """Type a command on its machines; each must end, and print, as the guide says."""
        for machine in self.machines(step.machine):
            begun = time.monotonic()
            code, printed = self.run(machine, step.command)
            self.log.append(f"[{time.monotonic() - begun:.1f} s] {machine}# {step.command}\n{printed}({code})\n")
            lacking = missed(step.shown, printed)
            assert lacking is None, (
                f"line {step.line}: {step.command!r} on {machine} did not print {lacking!r}:\n{printed}({code})"
            )
            assert code == step.code, f"line {step.line}: {step.command!r} on {machine} ended with {code}:\n{printed}"

    def write(self, step: Written) -> None:
        """Make a file, or change settings in one."""
        for machine in self.machines(step.machine):
            path, text = self.place(machine, step.path), self.real(machine, step.text)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text if step.how == "write" else changed(path.read_text(), text))
            path.chmod(0o600)

    def key(self, deed: str, name: str) -> None:
        """``create`` a key pair of the account, or ``rm`` it."""
        pair = [f"--access-key={self.keys[name]}"]
        pair += [f"--secret-key={self.keys[name]}SECRET/+="] if deed == "create" else []
        subprocess.run([*self.service.admin, deed, *pair], capture_output=True, check=True)

    def make(self, *buckets: str) -> None:
        """Those that an operator makes at the provider."""
        for bucket in buckets:
            make_bucket(self.service.env, bucket)

    def end(self) -> None:
        """Stop what was started, unmount everything."""
        for machine in MACHINES:
            with suppress(OSError, subprocess.SubprocessError):
                self.run(machine, "systemctl stop --all; asset unmount --all --discard")
        for _ in range(3):
            for each in reversed(mounts()):
                if each.dir.startswith(f"{self.folder}/"):
                    detach(each.dir)
        subprocess.run(["chattr", "-R", "-i", self.folder], capture_output=True, check=False)


def changed(text: str, settings: str) -> str:
    """A ``site.toml`` with these settings: each in the place of the one of its name, be it a comment; a table at the end."""
    plain, table, rest = settings.partition("[[")
    for line in plain.splitlines():
        name = line.partition(" = ")[0].strip()
        if name and not name.startswith("["):
            text, count = re.subn(
                rf"^(# )?{re.escape(name)} = .*$", lambda _, new=line: new, text, count=1, flags=re.MULTILINE
            )
            assert count, f"no setting {name}"
    return text + (f"\n{table}{rest}" if table else "")
