"""``asset completion``, and what it completes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys

import pytest

from holdfast.mount.registry import MountSettings, Registry


def completed(asset, line: str, **environ: str | None) -> list[str]:
    """The answers to a line whose last word is being typed."""
    words = line.split(" ")
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_ASSET_COMPLETE": "bash_complete"}
    return [answer.partition(",")[2] for answer in asset(**variables, **environ).out.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion__script(asset, shell: str) -> None:
    """The script serves both names of the program."""
    out = asset.ok("completion", shell).out
    assert "_ASSET_COMPLETE" in out
    assert "_HOLDFAST_COMPLETE" in out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=out, text=True, check=True)


def test_completion__unknown_shell(asset) -> None:
    """Another shell is a usage error."""
    assert asset.error(2, "completion", "csh")["kind"] == "usage"
    assert asset.error(2, "completion", "bash")["kind"] == "usage"


def test_complete__commands_and_options(asset) -> None:
    """Commands, commands of groups and options are completed."""
    assert completed(asset, "asset fet") == ["fetch"]
    assert completed(asset, "asset cache p") == ["pin", "prune"]
    assert completed(asset, "asset push --fol") == ["--follow-links"]


def test_complete__names_and_versions(pushed) -> None:
    """Names of assets are completed, and behind a colon aliases and versions."""
    assert completed(pushed, "asset fetch nl") == ["nlp/bert"]
    assert completed(pushed, "asset fetch nlp/bert:") == ["nlp/bert:stable", "nlp/bert:0.1", "nlp/bert:0.0"]
    assert completed(pushed, "asset fetch nlp/bert:0.1") == ["nlp/bert:0.1"]


def test_complete__mounts(pushed, tmp_path) -> None:
    """A mount's source is completed as a spec, its directory by the shell, its mounter from those there are; unmounting, what is mounted."""
    assert completed(pushed, "asset mount nlp/bert:0.1") == ["nlp/bert:0.1"]
    assert completed(pushed, "asset mount nlp/bert /mn") == ["/mn"]
    assert completed(pushed, "asset mount s3://b /mnt --with g") == ["goofys", "geesefs"]
    state = tmp_path / "state"
    registry = Registry(state / "holdfast" / "mounts")
    for name in ("one", "other"):
        with registry.claimed(MountSettings(str(tmp_path / name), "nlp/bert", "version", {})):
            pass
    assert completed(pushed, f"asset unmount {tmp_path}/on", XDG_STATE_HOME=str(state)) == [f"{tmp_path}/one"]
    assert completed(pushed, "asset unmount /elsewhere", XDG_STATE_HOME=str(state)) == [""]


def test_complete__silent_on_errors(asset) -> None:
    """Where the store does not answer nothing is completed and nothing is said."""
    ended = asset(
        COMP_WORDS="asset fetch n",
        COMP_CWORD="2",
        _ASSET_COMPLETE="bash_complete",
        HOLDFAST_STORE="file:///nonexistent",
    )
    assert (ended.code, ended.out.strip(), ended.err) == (0, "", "")


BASH = {
    "asset fetch nlp/bert:0": ["0.1", "0.0"],
    "asset fetch nlp/b": ["nlp/bert"],
    "asset push 'my model' nl": ["nlp/bert"],
    'asset push "my  model"  nl': ["nlp/bert"],
    "asset push my\\ model nlp/bert --message 'of two words' --layout ": ["file", "tree", "tar.gz", "packs"],
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("line", BASH)
def test_complete__bash(pushed, line: str) -> None:
    """In bash, which breaks words at colons, the answers go on after it; words before may be quoted."""
    script = pushed.ok("completion", "bash").out
    program = f'asset() {{ {sys.executable} -m holdfast.cli "$@"; }}\nCOMP_LINE={shlex.quote(line)}\nCOMP_POINT=${{#COMP_LINE}}\n'
    program += "_asset_completion asset\necho ${COMPREPLY[*]}\n"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{program}"], capture_output=True, text=True, check=True, env=pushed.environ()
    )
    assert done.stdout.split() == BASH[line]
