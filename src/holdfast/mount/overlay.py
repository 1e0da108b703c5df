"""Mounts a directory of changes above a version: the kernel's overlay file system, or fuse-overlayfs for who may not mount.

Of the kernel's: renames of directories of the version are refused (EXDEV, and ``mv`` copies), and an entry above holds all of its bytes:
then the changes can be read off the upper directory alone, with whatever version below. An overlay can be *frozen*: refused while anything in it is open for
writing, afterwards nothing in it can be written. A frozen one is *replaced* by another one at no moment of which the directory is empty.

Only system calls here; what they are for is said in :mod:`holdfast.mount.editing`. The numbers of the calls are the same on every machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import BusyError, LocalError, UnsupportedError
from holdfast.mount.device import FOR_OTHERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["HELD", "KINDS", "Layers", "choose", "freeze", "mount_over", "replace", "thaw", "unmount"]

#: What the changes of each are called in ``/proc/self/mountinfo``.
KINDS: Final = {"overlayfs": "overlay", "fuse-overlayfs": "fuse.fuse-overlayfs"}
#: Why :func:`freeze` may not be possible now.
HELD: Final = "files in it are open for writing, or were removed and are still open"
_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _FSPICK = 429, 430, 431, 432, 433
_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE, _RECONFIGURE = 0, 1, 6, 7
_NOSUID, _NODEV = 2, 4
_FROM_EMPTY_PATH, _BENEATH = 0x4, 0x200
_AT_FDCWD = -100
_DETACH = 2
#: Files above are whole and on their own, so that any version may lie below them.
_OPTIONS: Final = {"redirect_dir": "off", "metacopy": "off", "index": "off", "xino": "off"}
#: Where programs are looked for, whoever calls: root must not run what lies in the caller's PATH.
_PROGRAMS: Final = "/usr/local/bin:/usr/bin:/bin"
_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Layers:
    """The folders of an overlay: ``lower`` (the version), ``upper`` and ``work`` in one ``folder``. ``label`` names it in the table of mounts."""

    folder: Path
    label: str

    @property
    def lower(self) -> Path:
        """Where the version is mounted."""
        return self.folder / "lower"

    @property
    def upper(self) -> Path:
        """The changes."""
        return self.folder / "upper"

    @property
    def work(self) -> Path:
        """Where a file is put together before it is there."""
        return self.folder / "work"


@cache
def _library() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: Any) -> int:
    result = int(_library().syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def choose() -> str:
    """The kind of overlay that we may mount here.

    Raises:
        UnsupportedError: none, with what to do about it.
    """
    if os.geteuid() == 0 and _kernel_knows("overlay"):
        return "overlayfs"
    if _program("fuse-overlayfs") is not None:
        return "fuse-overlayfs"
    raise UnsupportedError(
        "a writable mount needs overlayfs and root, or fuse-overlayfs, and neither is here",
        hint="install the package fuse-overlayfs, or mount it without --writable",
    )


def _kernel_knows(name: str) -> bool:
    """Whether the kernel has this file system, or can load it."""
    try:
        os.close(_call(_FSOPEN, name.encode(), _CLOEXEC))
    except OSError:
        return False
    return True


def _program(name: str) -> str | None:
    return shutil.which(name, path=_PROGRAMS)


def mount_over(directory: Path, layers: Layers, kind: str, *, others: bool = False) -> None:
    """Mount the layers at a directory, whatever is mounted there. ``others``: fuse-overlayfs lets other users come in; the kernel's overlay always does.

    Raises:
        LocalError: the kernel or fuse-overlayfs refuses; what it says is told.
    """
    if kind == "overlayfs":
        with _made(layers) as made:
            _attach(made, directory)
    else:
        _refuse_colon(layers)
        _run(directory, "fuse-overlayfs", "-o", _fuse_options(others=others), str(directory), folder=layers.folder)


def replace(directory: Path, layers: Layers) -> None:
    """Let other layers take the place of the kernel's overlay at a directory. What is open in that one stays readable.

    The new one is put beneath the old one, which is then taken away. Kernels before 6.5 cannot do that: there it is put above.

    Raises:
        LocalError: the kernel refuses; the old one is as it was.
    """
    old = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _made(layers) as made:
            try:
                _attach(made, directory, _BENEATH)
            except LocalError as error:
                if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EINVAL:
                    raise
                _attach(made, directory)
                return
        _unmount(f"/proc/self/fd/{old}", _DETACH)
    finally:
        os.close(old)


@contextmanager
def _made(layers: Layers) -> Iterator[int]:
    """The kernel's overlay of these layers, mounted nowhere yet, by its descriptor."""
    folder = os.open(layers.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        here = f"/proc/self/fd/{folder}"  # the kernel takes short names only, and has a meaning for some characters
        places = {"lowerdir": f"{here}/lower", "upperdir": f"{here}/upper", "workdir": f"{here}/work"}
        mount = _configured({"source": layers.label} | places | _OPTIONS, layers)
    finally:
        os.close(folder)
    try:
        yield mount
    finally:
        os.close(mount)


def _configured(options: dict[str, str], layers: Layers) -> int:
    opened = _call(_FSOPEN, b"overlay", _CLOEXEC)
    try:
        for key, value in options.items():
            _call(_FSCONFIG, opened, _SET_STRING, key.encode(), os.fsencode(value), 0)
        _call(_FSCONFIG, opened, _CREATE, None, None, 0)
        return _call(_FSMOUNT, opened, _CLOEXEC, _NOSUID | _NODEV)
    except OSError as error:
        said = _said(opened)
        raise LocalError(
            f"the kernel mounts no overlay in {layers.folder}: {said or error.strerror}",
            subject=str(layers.folder),
            hint="the cache must be on a file system of this machine, such as ext4, xfs, btrfs or tmpfs: set XDG_CACHE_HOME",
        ) from error
    finally:
        os.close(opened)


def _said(opened: int) -> str:
    """What the kernel has to say about a mount that failed."""
    said = []
    with suppress(OSError):
        while text := os.read(opened, 4096):
            said.append(text.decode(errors="replace").partition(" ")[2].strip())
    return "; ".join(said)


def _attach(mount: int, directory: Path, flags: int = 0) -> None:
    try:
        _call(_MOVE_MOUNT, mount, b"", _AT_FDCWD, os.fsencode(directory), _FROM_EMPTY_PATH | flags)
    except OSError as error:
        raise LocalError(f"cannot mount at {directory}: {error.strerror}", subject=str(directory)) from error


def _refuse_colon(layers: Layers) -> None:
    """Raise UnsupportedError where fuse-overlayfs would take a folder for two: it looks at the whole path, whatever it is told."""
    if ":" in str(layers.folder.resolve()):
        raise UnsupportedError(
            f"fuse-overlayfs keeps no changes below a folder with a colon in its name: {layers.folder}",
            subject=str(layers.folder),
            hint="set XDG_CACHE_HOME to another one, or mount it as root",
        )


def _fuse_options(*, others: bool) -> str:
    return "lowerdir=lower,upperdir=upper,workdir=work,nosuid,nodev" + ",allow_other" * others


def _run(directory: Path, name: str, *arguments: str, folder: Path | None = None) -> None:
    """Run a program that mounts or unmounts.

    Raises:
        BusyError: what is mounted there is in use.
        LocalError: it fails otherwise.
    """
    program = _program(name)
    if program is None:
        raise LocalError(
            f"{name} is not on this machine", subject=str(directory), hint=f"install the package of {name}"
        )
    try:
        done = subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalError(f"{name} failed at {directory}: {error}", subject=str(directory)) from error
    if done.returncode == 0:
        return
    said = _reason(done.stderr) or f"exit {done.returncode}"
    if "busy" in said.lower():
        raise _busy(str(directory))
    hint = FOR_OTHERS if "user_allow_other" in said else None
    raise LocalError(f"{name} failed at {directory}: {said}", subject=str(directory), hint=hint)


def _reason(said: str) -> str:
    """The line that says why: fusermount3's, where it refused and its caller can only say that it did; else the last."""
    lines = said.strip().splitlines()
    return next((line for line in lines if line.startswith("fusermount3: ")), lines[-1] if lines else "")


def freeze(directory: Path, kind: str) -> bool:
    """Let nothing of what is mounted at a directory be written any more, wherever else that is mounted too (in a container, by a bind).

    False while something in it is open for writing, or removed and still open, or where that cannot be done.
    """
    return kind == "overlayfs" and _reconfigured(directory, "ro")


def thaw(directory: Path, kind: str) -> None:
    """Let it be written again."""
    if kind == "overlayfs":
        _reconfigured(directory, "rw")


def _reconfigured(directory: Path, flag: str) -> bool:
    """Set a flag of the file system, which all of its mounts have in common; False where somebody is in the way."""
    try:
        picked = _call(_FSPICK, _AT_FDCWD, os.fsencode(directory), _CLOEXEC)
        try:
            _call(_FSCONFIG, picked, _SET_FLAG, flag.encode(), None, 0)
            _call(_FSCONFIG, picked, _RECONFIGURE, None, None, 0)
        finally:
            os.close(picked)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise LocalError(f"cannot hold writers at {directory}: {error.strerror}", subject=str(directory)) from error
    return True


def unmount(directory: Path, kind: str) -> None:
    """Unmount what is mounted last at a directory.

    Raises:
        BusyError: it is in use.
        LocalError: it cannot be unmounted.
    """
    if kind == "overlayfs" or os.geteuid() == 0:
        _unmount(str(directory), 0)
    else:
        _run(directory, "fusermount3", "-u", "--", str(directory))


def _unmount(path: str, flags: int) -> None:
    if _library().umount2(os.fsencode(path), flags) == 0:
        return
    code = ctypes.get_errno()
    if code == errno.EBUSY:
        raise _busy(path)
    raise LocalError(f"cannot unmount {path}: {os.strerror(code)}", subject=path)


def _busy(path: str) -> BusyError:
    return BusyError(
        f"{path} is in use",
        subject=path,
        hint="close what is open in it, and leave it with every shell: fuser -vm tells who",
    )
