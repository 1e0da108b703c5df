"""The files of ``deploy``: not run here, but read as those who run them do, and every command in them is one of the program's."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import pytest
import yaml

from holdfast.cli.program import program
from holdfast.config import KEYS
from holdfast.server.providers import Provider, read_providers
from holdfast.server.settings import ServerSettings, load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def parsed(words: list[str]) -> dict:
    """What ``asset server`` understands of these words."""
    context = click.Context(program)
    server = program.get_command(context, "server")
    assert isinstance(server, click.Group)
    command = server.commands[words[0]]
    return command.make_context(words[0], words[1:], parent=context, obj=None, resilient_parsing=True).params


def test_settings__every_one_is_in_the_file() -> None:
    """The settings file is one that the server reads, and names every setting there is, in force or commented out."""
    text = (DEPLOY / "server.toml").read_text()
    settings = load_settings({}, DEPLOY / "server.toml")
    assert settings.database.startswith("postgresql+psycopg://")
    named = set(re.findall(r"^(?:# )?(?:(\w+) = |\[\[(\w+)\]\])", text, flags=re.MULTILINE))
    named = {one or other for one, other in named}
    provider = tomllib.loads("\n".join(line.lstrip("# ") for line in text.partition("# [[oidc]]")[2].splitlines()[1:]))
    assert set(provider) == {each.name for each in fields(Provider)}
    assert read_providers([provider])
    assert named == {each.name for each in fields(ServerSettings)} - {"environ"}
    whole = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    for name, value in tomllib.loads(whole).items():
        if name not in ("data", "database", "secret_file"):
            default = getattr(ServerSettings(), name)
            assert (list(default) if isinstance(default, tuple) else default) == value, name


def unit_named(name: str) -> configparser.ConfigParser:
    """A unit of systemd, by its sections."""
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string("\n".join(x for x in (DEPLOY / name).read_text().splitlines() if x[:1] != "#"))
    return unit


def variables() -> dict[str, str]:
    """What the file of one mount says, in force or commented out."""
    lines = re.findall(r"^(?:# )?([A-Z_]+)=(.+)$", (DEPLOY / "mount.env").read_text(), flags=re.MULTILINE)
    assert len(dict(lines)) == len(lines)
    return dict(lines)


def filled(line: str) -> list[str]:
    """The words of a command as systemd makes them of a unit's line, for /mnt/bert."""
    for name, value in (variables() | {"OPTIONS": "-o allow_other"}).items():
        line = line.replace(f"${{{name}}}", value).replace(f"${name}", value)
    words = shlex.split(line.replace("%f", "/mnt/bert").replace("%i", "mnt-bert"))
    assert not [word for word in words if "$" in word or "%" in word]
    assert words[0] == "/opt/holdfast/bin/asset"
    return words[1:]


def told(words: list[str]) -> dict:
    """What ``asset`` understands of these words."""
    context = click.Context(program)
    command = program.get_command(context, words[0])
    assert command is not None
    return command.make_context(words[0], words[1:], parent=context, obj=None, resilient_parsing=True).params


@pytest.mark.parametrize(("name", "mounter"), [("holdfast-version@", None), ("holdfast-bucket@", "rclone")])
def test_units_of_mounts(name: str, mounter: str | None) -> None:
    """A unit of a mount mounts what its file says, waits until that is there, unmounts it, and hides it from nobody."""
    service = unit_named(f"{name}.service")["Service"]
    mounted, unmounted = told(filled(service["ExecStart"])), told(filled(service["ExecStop"]))
    assert (mounted["source"], mounted["directory"], mounted["mounter"]) == ("nlp/bert:1", "/mnt/bert", mounter)
    assert mounted["options"] == ("allow_other",)
    assert not mounted["foreground"]
    assert (unmounted["directory"], unmounted["wait"]) == ("/mnt/bert", mounter is not None)
    assert (service["Type"], service["GuessMainPID"]) == ("forking", "no")
    assert service["EnvironmentFile"] == "/etc/holdfast/mounts/%i.env"
    own_mounts = {"PrivateTmp", "PrivateMounts", "PrivateDevices", "ProtectSystem", "ProtectHome", "MountFlags"}
    own_mounts |= {"ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths", "ProtectKernelTunables", "DynamicUser"}
    assert own_mounts.isdisjoint(service)
    assert set(variables()) >= set(re.findall(r"\$\{?([A-Z]+)", " ".join(service.values())))


def test_variables_of_mounts() -> None:
    """Each variable of the file of a mount is one of the units', of the settings, or of a cloud's own tools."""
    known = {"SOURCE", "MOUNTER", "OPTIONS", "HOLDFAST_PROFILE", "AWS_PROFILE"}
    assert set(variables()) <= known | {name for key in KEYS.values() for name in key.environment}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("name", ["holdfast-version@", "holdfast-bucket@", "holdfast-server"])
def test_units__systemd_reads_them(name: str, tmp_path: Path) -> None:
    """systemd itself has nothing to say against a unit, with a program that is there."""
    text = (DEPLOY / f"{name}.service").read_text().replace("/opt/holdfast/bin/asset", sys.executable)
    unit = tmp_path / f"{name.replace('@', '@mnt-bert')}.service"
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "holdfast" in line]) == (0, [])


def test_unit() -> None:
    """The unit starts the server with that file, as a user of its own, without rights that it does not need."""
    service = unit_named("holdfast-server.service")["Service"]
    program_path, word, *words = service["ExecStart"].split()
    assert (program_path.rpartition("/")[2], word) == ("asset", "server")
    assert parsed(words)["config"] == "/etc/holdfast/server.toml"
    assert service["User"] == "holdfast"
    assert float(service["TimeoutStopSec"]) > ServerSettings().ending
    assert {service[each] for each in ("NoNewPrivileges", "ProtectHome", "PrivateTmp")} == {"yes"}
    assert service["ProtectSystem"] == "strict"


def test_compose() -> None:
    """The compose file is one, starts the server behind a proxy on loopback, lets its requests end, and holds no secret."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    server = compose["services"]["server"]
    options = parsed(server["command"])
    assert options["behind_proxy"] == ("172.28.0.1/32",)
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    assert (DEPLOY.parent / server["build"]["dockerfile"]).is_file()
    assert float(server["stop_grace_period"].removesuffix("s")) > ServerSettings().ending
    for service in compose["services"].values():
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        assert not [name for name in service.get("environment", {}) if re.search("PASSWORD$|SECRET$|KEY$", name)]


def test_dockerfile() -> None:
    """The image is built from the lock files, runs as nobody in particular, and starts the server."""
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert [name for name in copied if not (DEPLOY.parent / name).exists()] == []
    assert "USER holdfast" in lines
    text = "\n".join(lines)
    for name in re.findall(r"-r (\S+)", text):
        assert (DEPLOY.parent / name).is_file()
    assert parsed(["start", "--data", "/var/lib/holdfast"])["data"] == "/var/lib/holdfast"
