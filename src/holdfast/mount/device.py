"""Mounting and unmounting a version: the system calls as root, ``fusermount3`` for everybody else.

Nothing here touches a file of a mount, which may hang. What is mounted where is known by :mod:`~holdfast.mount.table`.

Example::

    device = mount(Path("/mnt/x"), MountOptions(source="nlp/bert:1", owner=(0, 0)))
    set_read_ahead(Path("/mnt/x"), 1024)
    unmount(Path("/mnt/x"))
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.errors import BusyError, LocalError, UnsupportedError
from holdfast.mount.table import mounted_at

__all__ = [
    "FOR_OTHERS",
    "HELPERS",
    "TYPE",
    "MountOptions",
    "is_over",
    "mount",
    "refuse_unusable",
    "set_read_ahead",
    "unmount",
]

_DEVICE: Final = "/dev/fuse"
#: The type in the table of mounts.
TYPE: Final = "fuse.holdfast"
#: Where the helper is looked for, whatever PATH says.
HELPERS: Final = ("/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3")
#: What lets an ordinary user mount for others.
FOR_OTHERS: Final = "allow_other needs user_allow_other in /etc/fuse.conf"

_READ_ONLY, _NO_SUID, _NO_DEVICES, _NO_PROGRAMS = 1, 2, 4, 8
_NO_FOLLOW = 8
#: What fusermount3 says of what the kernel said.
_SAID: Final = {"busy": errno.EBUSY, "not mounted": errno.EINVAL, "not found": errno.EINVAL}


class MountOptions(NamedTuple):
    """How a version is mounted; ``owner`` is a uid and a gid. With ``noexec`` no program in it is run."""

    source: str
    owner: tuple[int, int]
    allow_other: bool = False
    noexec: bool = False


def mount(directory: Path, options: MountOptions) -> int:
    """Mount, and return the descriptor by which the kernel asks; the first request there is INIT.

    Raises:
        UnsupportedError: no FUSE device, or no leave to mount.
        LocalError: the directory refuses.
    """
    return _mount_as_root(directory, options) if os.geteuid() == 0 else _mount_by_helper(directory, options)


def refuse_unusable() -> None:
    """Raise UnsupportedError where nothing can be mounted for want of a device or a helper; whether the kernel gives leave is not known then."""
    if os.geteuid() == 0:
        os.close(_opened())
    else:
        _helper()


def _opened() -> int:
    try:
        return os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UnsupportedError(
            f"{_DEVICE} cannot be opened: {error.strerror}",
            subject=_DEVICE,
            hint="load the kernel's module (modprobe fuse), or give the container the device",
        ) from error


def _helper() -> str:
    helper = next((path for path in HELPERS if os.access(path, os.X_OK)), None)
    if helper is None:
        raise UnsupportedError(
            "mounting as an ordinary user needs fusermount3, which is not installed",
            hint="install the package fuse3, or mount as root",
        )
    return helper


def _mount_as_root(directory: Path, options: MountOptions) -> int:
    device = _opened()
    words = [f"fd={device}", "rootmode=40000", f"user_id={os.geteuid()}", f"group_id={os.getegid()}"]
    words += ["default_permissions"] + ["allow_other"] * options.allow_other
    flags = _READ_ONLY | _NO_SUID | _NO_DEVICES | (_NO_PROGRAMS if options.noexec else 0)
    arguments = _bytes(options.source), os.fsencode(directory), TYPE.encode(), ctypes.c_ulong(flags)
    try:
        _call("mount", directory, *arguments, ",".join(words).encode())
    except OSError as error:
        os.close(device)
        if error.errno in (errno.EPERM, errno.EACCES, errno.ENODEV):
            raise UnsupportedError(
                f"the kernel does not let this process mount: {error.strerror}",
                subject=str(directory),
                hint="in a container, give it CAP_SYS_ADMIN",
            ) from error
        raise LocalError(f"cannot mount on {directory}: {error.strerror}", subject=str(directory)) from error
    return device


def _mount_by_helper(directory: Path, options: MountOptions) -> int:
    import socket

    helper = _helper()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        said = _run_helper(helper, _helper_words(directory, options), theirs)
        theirs.close()
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if descriptors:
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]
    raise UnsupportedError(
        f"fusermount3 refused: {said or 'it said nothing'}",
        subject=str(directory),
        hint=FOR_OTHERS if options.allow_other else None,
    )


def _helper_words(directory: Path, options: MountOptions) -> list[str]:
    source = re.sub(r"([\\,])", r"\\\1", options.source)
    words = ["ro", "nosuid", "nodev", "default_permissions", f"fsname={source}", "subtype=holdfast"]
    words += ["allow_other"] * options.allow_other + ["noexec"] * options.noexec
    return ["-o", ",".join(words), "--", str(directory)]


def _run_helper(helper: str, words: list[str], theirs: object) -> str:
    """Run fusermount3, which gives the device through the socket; what it said."""
    import subprocess

    number = theirs.fileno()  # type: ignore[attr-defined]
    done = subprocess.run(
        [helper, *words],
        env={"_FUSE_COMMFD": str(number), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        pass_fds=[number],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        timeout=30,
    )
    return done.stderr.decode("utf-8", "replace").strip().removeprefix("fusermount3: ")


def unmount(directory: Path) -> bool:
    """Unmount what nobody uses. False: it was no mount.

    Raises:
        BusyError: somebody uses it.
        LocalError: anything else that the kernel says.
    """
    try:
        if os.geteuid() == 0:
            _call("umount2", directory, os.fsencode(directory), _NO_FOLLOW)
        else:
            _unmount_by_helper(directory)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise BusyError(
                f"{directory} is in use", subject=str(directory), hint="close what is open below it"
            ) from error
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return False
        raise LocalError(f"cannot unmount {directory}: {error.strerror}", subject=str(directory)) from error
    return True


def _unmount_by_helper(directory: Path) -> None:
    import subprocess

    helper = next((path for path in HELPERS if os.access(path, os.X_OK)), "fusermount3")
    try:
        done = subprocess.run([helper, "-u", "--", str(directory)], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        raise OSError(errno.EIO, str(error)) from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise OSError(next((code for word, code in _SAID.items() if word in said), errno.EIO), said)


def set_read_ahead(directory: Path, kibibytes: int) -> bool:
    """Let the kernel read this far ahead on a mount; False: it may not be set (only root may)."""
    found = mounted_at(str(directory))
    if found is None:
        return False
    with suppress(OSError):
        Path(f"/sys/class/bdi/0:{found.device}/read_ahead_kb").write_text(str(kibibytes))
        return True
    return False


def is_over(device: int) -> bool:
    """Whether the kernel asks no more on this descriptor: unmounted or aborted."""
    import select

    poll = select.poll()
    poll.register(device, select.POLLIN)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _call(name: str, directory: Path, *arguments: object) -> None:
    """Call the C library.

    Raises:
        OSError: what it says.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(directory))
