"""``mount -t fuse.holdfast`` and lines of fstab, by the real mount(8), in a mount namespace where its folder of programs is ours."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from holdfast.cli.fstab import Line, parsed, split
from holdfast.errors import UsageError
from tests.mount.conftest import mounted_below, processes_naming
from tests.mount.test_daemon_worker import until
from tests.mount.test_mount_version import Shop
from tests.mount.versions import ROOT, needs_fuse

if TYPE_CHECKING:
    from pathlib import Path

needs_mount = pytest.mark.skipif(shutil.which("mount") is None or shutil.which("unshare") is None, reason="no mount(8)")

PROGRAM = f"#!{sys.executable}\nfrom holdfast.cli.fstab import main\nmain()\n"


class Machine:
    """A machine with our program in /sbin and a file like /etc/fstab."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.program = shop.folder / "mount.fuse.holdfast"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        self.fstab = shop.folder / "fstab"
        self.settings = f"store=file://{shop.folder / 'store'},assets_dir={shop.folder / 'assets'}"

    def run(self, script: str) -> tuple[int, str, str]:
        """Exit code, output and messages of a shell script there, whose environment is that of a machine that starts."""
        sbin = os.path.realpath("/sbin")
        ready = f"mount -t tmpfs none {sbin} && ln -s {self.program} {sbin}/ && {{ {script}\n}}"
        environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src")}
        environ |= {name: os.environ[name] for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME")}
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", ready], env=environ, capture_output=True, text=True, check=False, timeout=90
        )
        return done.returncode, done.stdout, done.stderr

    def asset(self, words: str) -> str:
        """A command of the program, for a script."""
        return f"{shlex.quote(sys.executable)} -m holdfast.cli {words}"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine, and a store with one version of nlp/bert."""
    return Machine(Shop(tmp_path, monkeypatch))


@needs_fuse
@needs_mount
def test_fstab__a_line(machine):
    """A line of fstab with the type fuse.holdfast mounts its version, and umount takes it away; nothing is left behind."""
    shop = machine.shop
    options = f"{machine.settings},ro,noexec,allow_other,_netdev,nofail,x-systemd.automount"
    machine.fstab.write_text(f"nlp/bert:0 {shop.place} fuse.holdfast {options} 0 0\n")
    code, out, errors = machine.run(f"""
mount -T {machine.fstab} {shop.place} || exit
cat {shop.place}/sub/7 && cmp {shop.place}/big {shop.source}/big && echo
findmnt -n -o FSTYPE,SOURCE,OPTIONS {shop.place}
{machine.asset("mounts")}
umount {shop.place} && ls {shop.place}""")
    assert code == 0, errors
    content, kernel, heads, row = out.splitlines()
    assert content == "7"
    fstype, source, flags = kernel.split()
    assert (fstype, source) == ("fuse.holdfast", "nlp/bert:0")
    assert {"ro", "nosuid", "nodev", "noexec", "default_permissions", "allow_other"} <= set(flags.split(","))
    assert heads.split()[:3] == ["DIR", "SOURCE", "KIND"]
    assert row.split()[:4] == [str(shop.place), "nlp/bert:0", "version", "mounted"]
    until(lambda: processes_naming(shop.folder) == [])
    assert mounted_below(shop.folder) == []


@needs_fuse
@needs_mount
def test_fstab__all_lines(machine):
    """mount -a mounts what is not mounted yet, and nothing twice; a line that cannot be is told, and the others are mounted."""
    shop = machine.shop
    other = shop.folder / "with a blank"
    other.mkdir()
    lines = [
        f"nlp/bert:0 {shop.place} fuse.holdfast {machine.settings} 0 0",
        f"nlp/none {shop.folder}/assets fuse.holdfast {machine.settings} 0 0",
        f"nlp/bert {str(other).replace(' ', chr(92) + '040')} fuse.holdfast {machine.settings},follow 0 0",
    ]
    machine.fstab.write_text("\n".join(lines) + "\n")
    code, out, errors = machine.run(f"""
mount -a -T {machine.fstab}
mount -a -T {machine.fstab}
grep fuse.holdfast /proc/self/mountinfo | grep -c {shop.folder}
cd {shop.folder} && mkdir -p nlp/bert:0 && umount {shop.place} && mount -t fuse.holdfast -o {machine.settings} nlp/bert:0 {shop.place}
findmnt -n -o SOURCE {shop.place}
cat "{other}/sub/8" && umount "{other}" && umount {shop.place}""")
    assert (code, out) == (0, "2\nnlp/bert:0\n8"), errors
    assert errors.count("no asset 'nlp/none'") == 2
    assert "already" not in errors
    assert "Traceback" not in errors
    until(lambda: processes_naming(shop.folder) == [])


@needs_fuse
@needs_mount
@pytest.mark.parametrize(
    ("spec", "options", "code", "said"),
    [
        ("nlp/bert:9", "", 32, "no version 9 of nlp/bert"),
        ("nlp/bert", ",stor=x", 1, "there is no option 'stor=x' for mount.fuse.holdfast"),
        ("nlp/bert", ",writable", 1, "asset mount SPEC DIR --writable"),
        ("s3://bucket", ",with=rclone", 1, "s3://bucket is a bucket, and no spec"),
        ("nlp/bert:", "", 1, "nothing after ':'"),
        ("nlp/bert", ",store=gopher://x", 1, "gopher"),
    ],
)
def test_fstab__a_line_that_cannot_be(machine, spec, options, code, said):
    """A line that cannot be mounted is told in a sentence, with the exit code of mount(8) for it, and nothing is left behind."""
    shop = machine.shop
    found, out, errors = machine.run(f"mount -t fuse.holdfast -o {machine.settings}{options} {spec} {shop.place}")
    assert (found, out) == (code, ""), errors
    assert said in errors
    assert "Traceback" not in errors
    assert processes_naming(shop.folder) == []


@needs_fuse
@needs_mount
def test_fstab__only_looked_at(machine):
    """mount --fake reads the line and mounts nothing; --verbose says what is mounted."""
    shop = machine.shop
    words = f"-t fuse.holdfast -o {machine.settings} nlp/bert {shop.place}"
    code, out, errors = machine.run(
        f"mount --fake {words} && ls {shop.place} && mount -v {words} && umount {shop.place}"
    )
    assert code == 0, errors
    assert f"nlp/bert is mounted at {shop.place}" in out.splitlines()


def test_parsed__what_mount_asks_for():
    """Settings and words of ours are taken, what is mount's and systemd's own is let be, whatever the order of the words."""
    words = [
        "nlp/bert:1",
        "/mnt/b",
        "-n",
        "-v",
        "-o",
        'rw,user,exec,_netdev,x-systemd.requires=a,follow,store="file:///a,b"',
    ]
    expected = Line("nlp/bert:1", "/mnt/b", {"store": "file:///a,b"}, {"follow"}, verbose=True)
    assert parsed([*words, "-t", "fuse.holdfast"]) == expected
    assert parsed([*words[2:], "nlp/bert:1", "/mnt/b"]) == expected
    assert split(',a,,b="1,2",c') == ["a", "b=1,2", "c"]


def test_parsed__of_a_path():
    """Where a file has the name of the spec, mount(8) makes an absolute path of it: the spec is found again, or that is said."""
    assert parsed(["/srv/nlp/bert:1", "/b"], "/srv").spec == "nlp/bert:1"
    assert parsed(["/nlp/bert:1", "/b"], "/").spec == "nlp/bert:1"
    with pytest.raises(UsageError, match="/srv2/nlp/bert is a path, and no spec"):
        parsed(["/srv2/nlp/bert", "/b"], "/srv")


@pytest.mark.parametrize(
    ("option", "noexec"), [("users", True), ("exec", False), ("noexec", True), ("users,exec", False)]
)
def test_parsed__whether_programs_run(option, noexec):
    """A mount that ordinary users may make runs no programs, unless exec comes after that; noexec is kept."""
    assert parsed(["a", "/b", "-o", option]).noexec == noexec


@pytest.mark.parametrize(
    "words",
    [[], ["a"], ["a", "/b", "c"], ["a", "/b", "-q"], ["a", "/b", "-o"], ["a", "/b", "-N", "1"]]
    + [["a", "/b", "-o", option] for option in ("store", "store=", "follow=1", "remount", "bind", "nonempty")],
)
def test_parsed__what_cannot_be(words):
    """Words that mount(8) would not say, and options that are none here, are refused with what to do."""
    with pytest.raises(UsageError) as caught:
        parsed(words)
    assert caught.value.hint


def test_parsed__sloppy():
    """With -s an option that nobody knows is let be, as mount(8) promises; one of ours must still be whole."""
    assert parsed(["a", "/b", "-s", "-o", "whatever=1"]) == Line("a", "/b")
    with pytest.raises(UsageError):
        parsed(["a", "/b", "-s", "-o", "store"])


def test_program__is_installed():
    """The program comes with the package, under the name that mount(8) looks for."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["mount.fuse.holdfast"] == "holdfast.cli.fstab:main"
