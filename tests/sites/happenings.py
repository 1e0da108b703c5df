"""What happens to the machines of the operator's guide between its commands: failures, and what is waited for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Final

from holdfast.mount.table import detach, mounts
from tests.services.base import wait_until
from tests.sites.guided import IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sites.guided import World

__all__ = ["HAPPENINGS"]

_SOON: Final = 30.0


def _record(world: World, machine: str) -> dict[str, Any]:
    """What `asset mounts` tells of the one mount of a machine."""
    code, printed = world.run(machine, "asset mounts --json")
    assert code == 0, printed
    (record,) = json.loads(world.real(machine, printed))
    return dict(record)


def _mounted_again(machine: str) -> Callable[[World], None]:
    def wait(world: World) -> None:
        wait_until(lambda: _record(world, machine)["state"] == "mounted", _SOON, f"{machine} to have its mount back")

    return wait


def _signalled(machine: str, number: int, which: str = "worker_pid") -> Callable[[World], None]:
    def send(world: World) -> None:
        os.kill(_record(world, machine)[which], number)

    return send


def _mounted_anew(machine: str) -> Callable[[World], None]:
    """It was mounted again more often than before."""

    def wait(world: World) -> None:
        wait_until(lambda: _is_new(_record(world, machine)), _SOON, f"{machine} to be mounted again")

    return wait


def _is_new(record: dict[str, Any]) -> bool:
    return record["state"] == "mounted" and record["restarts"] >= 2


def _lose_mount(machine: str) -> Callable[[World], None]:
    """Nobody is left who would mount again."""

    def kill(world: World) -> None:
        record = _record(world, machine)
        os.kill(record["supervisor_pid"], signal.SIGKILL)
        os.kill(record["worker_pid"], signal.SIGKILL)
        for each in mounts():
            if each.dir == record["dir"]:
                detach(each.dir)

    return kill


def _told(world: World) -> None:
    log = world.place("web2", "/var/log/holdfast-site.log")
    wait_until(lambda: log.exists() and "ERROR mount" in log.read_text().splitlines()[-1], _SOON, "somebody to be told")


def _write_underneath(world: World) -> None:
    _lose_mount("web2")(world)
    place = world.place("web2", "/var/www/html/images")
    subprocess.run(["chattr", "-i", place], capture_output=True, check=False)
    place.chmod(0o755)
    (place / "underneath.jpg").write_bytes(b"underneath")


def _sent(machine: str) -> Callable[[World], None]:
    def wait(world: World) -> None:
        wait_until(lambda: not _record(world, machine)["unsent"], _SOON, f"{machine} to send everything")

    return wait


def _die_attaching(world: World) -> None:
    world.run("web3", "asset site detach --wait")
    (world.place("web3", "/var/www/html/images") / "local.jpg").write_bytes(b"local")
    code, printed = world.run("web3", "HOLDFAST_FAILPOINT=site.step#3 asset site attach")
    assert code == -signal.SIGKILL, printed


def _delete_one(world: World) -> None:
    world.place("web1", "/var/www/html/images/logo.png").unlink()
    _sent("web1")(world)
    code, printed = world.run("web1", "asset site replicate")
    assert code == 0, printed


def _delete_many(world: World) -> None:
    place = world.place("web1", "/var/www/html/images/2026")
    wait_until(lambda: place.is_dir() and len(list(place.iterdir())) == IMAGES, _SOON, "web1 to see all of them")
    shutil.rmtree(place)


def _break_page(world: World) -> None:
    world.place("web1", "/var/www/html/index.php").write_bytes(b"broken")


def _lose_server(world: World) -> None:
    """Its disk is gone, and so is all that ran; another machine has its name."""
    world.run("web3", "systemctl stop --all")
    _lose_mount("web3")(world)
    subprocess.run(["chattr", "-R", "-i", world.folder / "web3/www"], capture_output=True, check=False)
    for folder in (world.folder / "web3").iterdir():
        for each in folder.iterdir():
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()


def _resize(world: World, size: int | str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", world.folder / "web3/root"], check=True)


def _fill_disk(world: World) -> None:
    found = os.statvfs(world.folder / "web3/root")
    _resize(world, (found.f_blocks - found.f_bfree) * found.f_frsize)


#: What a directive of the guide says → what is done.
HAPPENINGS: Final[dict[str, Callable[[World], None]]] = {
    "the buckets example-holdfast and example-copies": lambda world: world.make(world.bucket, world.copies),
    "the old keys of the web servers are taken back": lambda world: world.key("rm", "AKIAWEB"),
    "the mounter on web2 is killed": _signalled("web2", signal.SIGKILL),
    "the mounter on web2 is stopped": _signalled("web2", signal.SIGSTOP),
    "web2 has its mount back": _mounted_again("web2"),
    "web2 has been mounted again": _mounted_anew("web2"),
    "web2 has told of it": _told,
    "web2 has sent all": _sent("web2"),
    "the supervisor and the mounter on web2 are killed": _lose_mount("web2"),
    "the mount on web2 is gone, and somebody writes underneath": _write_underneath,
    "s3.example.com does not answer": lambda world: world.way.cut(),
    "web3 is detached, and dies while it attaches": _die_attaching,
    "somebody deletes images/logo.png, and it is replicated": _delete_one,
    "somebody deletes all of images/2026": _delete_many,
    "somebody breaks index.php on web1": _break_page,
    "web3 is lost, and a new machine stands in its place": _lose_server,
    "the disk of web3 is full": _fill_disk,
    "somebody frees the disk of web3": lambda world: _resize(world, "8g"),
    "the clock of web2 is an hour ahead": lambda world: world.clocks.update(web2="+1h"),
    "the clock of web2 is right": lambda world: world.clocks.clear(),
    "the bucket example-moved": lambda world: world.make(world.moved),
    "s3.example.com answers": lambda world: world.way.open(),
}
