"""A forked process is, for a test, what a new interpreter is."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests import forking


@pytest.mark.parametrize("warnings", [None, "error"])
@pytest.mark.parametrize("ends", ["a last word", "3", "raise", "kill", "late"])
def test_forked__as_started_by_itself(tmp_path, ends, warnings):
    """It has the arguments, folder, environment, input, open files and warnings that it was given, prints the same and ends the same."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": ":".join(forking.PLACES),
    }
    env |= {"PYTHONWARNINGS": warnings} if warnings else {}
    words = [ends, "", "ü\udcff", "a b"]
    begun = forking.start("tests.e2e.telling", words, env=env, cwd=tmp_path, stdin="from here\n")
    assert isinstance(begun, forking.Forked)
    out, err = begun.communicate(60)
    command = [sys.executable, "-m", "tests.e2e.telling", *words]
    other = subprocess.run(
        command, env=env, cwd=tmp_path, input="from here\n", capture_output=True, text=True, check=False
    )
    assert (begun.returncode, out) == (other.returncode, other.stdout)
    assert err.splitlines()[0] == "é to stderr"
    assert err.splitlines()[-1] == other.stderr.splitlines()[-1]


def test_forked__is_killed_alone(tmp_path):
    """It can be killed while it runs, and those beside it go on."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for name in ("store", "assets", "gate"):
        (tmp_path / name).mkdir()
    words = [(tmp_path / "store").as_uri(), tmp_path / "assets", f'[["wait", "{tmp_path}/gate", 3]]']
    first, second = (forking.start("tests.e2e.driver", words, env=env) for _ in range(2))
    assert first.pid != second.pid
    assert first.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        first.communicate(0.01)
    first.kill()
    assert (first.wait(60), second.poll()) == (-9, None)
    for name in "abc":
        (tmp_path / "gate" / name).touch()
    assert second.communicate(60) == ("3\n", "")
    assert second.returncode == 0


@pytest.mark.parametrize(
    ("variable", "value"), [("PYTHONIOENCODING", "ascii"), ("LC_ALL", "xx_YY"), ("PYTHONPATH", "/nowhere")]
)
def test_forked__not_with_another_interpreter(tmp_path, variable, value):
    """Where a test sets what the interpreter reads when it starts, one is started."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), variable: value}
    process = forking.start("tests.e2e.telling", ["3"], env=env, cwd=forking.ROOT, stdin="x")
    assert isinstance(process, subprocess.Popen)
    process.communicate(60)
    assert process.returncode == 3


def test_forked__that_ends_before_its_number_is_read(tmp_path, monkeypatch):
    """On a busy machine a process may have ended by the time that its number is looked for; the two are not taken for one."""
    real = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, count: time.sleep(0.5) or real(descriptor, count))
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": ":".join(forking.PLACES)}
    process = forking.start("tests.e2e.telling", ["3"], env=env, cwd=tmp_path, stdin="x")
    process.communicate(60)
    assert process.returncode == 3
