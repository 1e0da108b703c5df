"""The files of ``deploy``: not run here, but read as those who run them do, and every command in them is one of the program's."""

from __future__ import annotations

import configparser
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import yaml

from holdfast.cli.program import program
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


def test_unit() -> None:
    """The unit starts the server with that file, as a user of its own, without rights that it does not need."""
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string(
        "\n".join(x for x in (DEPLOY / "holdfast-server.service").read_text().splitlines() if x[:1] != "#")
    )
    service = unit["Service"]
    program_path, word, *words = service["ExecStart"].split()
    assert (program_path.rpartition("/")[2], word) == ("asset", "server")
    assert parsed(words)["config"] == "/etc/holdfast/server.toml"
    assert service["User"] == "holdfast"
    assert {service[each] for each in ("NoNewPrivileges", "ProtectHome", "PrivateTmp")} == {"yes"}
    assert service["ProtectSystem"] == "strict"


def test_compose() -> None:
    """The compose file is one, starts the server behind a proxy on loopback, and holds no secret."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    server = compose["services"]["server"]
    options = parsed(server["command"])
    assert options["behind_proxy"] == ("172.28.0.1/32",)
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    assert (DEPLOY.parent / server["build"]["dockerfile"]).is_file()
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
