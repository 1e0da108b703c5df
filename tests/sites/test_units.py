"""systemd's units: read as systemd reads them, and every command in them is one of the program's. They are not run here."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess

import pytest

from holdfast.sites.schedule import PERIOD_SECONDS
from holdfast.sites.units import _CALENDAR, units

JOBS = {"backup hourly": "hourly", "replicate": 600.0}


def parsed(text: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(strict=True, interpolation=None)
    found.optionxform = str  # type: ignore[assignment]
    found.read_string(text)
    return found


def words(unit: configparser.ConfigParser) -> list[str]:
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(unit["Service"]["ExecStart"])]


def test_units__of_a_site():
    """There is one service that stays, and for each job a service and a timer, whose commands are the program's."""
    found = units("www-example-com", '/etc/a b/100%$x".toml', "/opt/hf/bin/asset", JOBS)
    name = "holdfast-site-www-example-com"
    assert set(found) == {
        f"{name}.service",
        *(f"{name}-{job}.{kind}" for job in ("backup-hourly", "replicate") for kind in ("service", "timer")),
    }
    command = ["/opt/hf/bin/asset", "site", "run", "--file", '/etc/a b/100%$x".toml']
    assert words(parsed(found[f"{name}.service"])) == command
    assert words(parsed(found[f"{name}-backup-hourly.service"])) == [*command, "--job", "backup hourly"]
    for text in found.values():
        unit = parsed(text)
        assert unit["Unit"]["Description"]
        if "Service" in unit:
            assert unit["Service"]["NoNewPrivileges"] == "yes"
    timer = parsed(found[f"{name}-replicate.timer"])["Timer"]
    assert (timer["OnUnitActiveSec"], timer["Persistent"]) == ("600", "yes")


def test_units__that_attach():
    """Where media are mounted a unit mounts them after a boot, before the web server, and leaves the mounts alone when it is over."""
    found = units("www-example-com", "/etc/site.toml", "/opt/hf/bin/asset", {}, mounts=True)
    unit = parsed(found["holdfast-site-www-example-com-attach.service"])
    assert words(unit) == ["/opt/hf/bin/asset", "site", "attach", "--file", "/etc/site.toml"]
    assert "nginx.service" in unit["Unit"]["Before"]
    assert (unit["Service"]["KillMode"], unit["Service"]["RemainAfterExit"]) == ("process", "yes")


def test_calendar__has_every_period():
    """Every period that is scheduled has its times in systemd's words."""
    assert set(_CALENDAR) == set(PERIOD_SECONDS)


@pytest.mark.parametrize("text", _CALENDAR.values())
def test_calendar__is_understood(text):
    """systemd, where it is here, understands the times."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run([program, "calendar", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_init__writes_units(site):
    """asset site init --systemd writes the units of the site's settings into a folder, and never over another file."""
    folder = site.folder / "units"
    folder.mkdir()
    done = site.site("init", "--systemd", str(folder))
    assert sorted(done["files"]) == sorted(str(path) for path in folder.iterdir())
    service = parsed((folder / "holdfast-site-www-example-com.service").read_text())
    assert words(service)[-1] == str(site.folder / "site.toml")
    assert words(service)[0].startswith("/")
    assert site.fails(4, "init", "--systemd", str(folder))["kind"] == "already_exists"
    assert site.fails(1, "init", "--systemd", str(site.folder / "none"))["kind"] == "local"
    assert site.fails(2, "init")["kind"] == "usage"
