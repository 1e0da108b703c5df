"""systemd's units for a site: one service that stays, or a timer for each job; pure, texts by file name.

``holdfast-site-NAME.service`` runs ``asset site run``. The timers do the same jobs one by one, by ``asset site run --job``, for those who
would rather have no process of ours stay: enable the service or the timers, not both. Times are UTC, as those of ``asset site run``.
No service has a view of the file systems of its own (PrivateTmp and the like): it must see the site's mounts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["units"]

#: The slots of the periods, in systemd's words.
_CALENDAR: Final = {
    "hourly": "*-*-* *:02:00 UTC",
    "daily": "*-*-* 02:30:00 UTC",
    "weekly": "Sun *-*-* 03:30:00 UTC",
    "monthly": "*-*-01 04:30:00 UTC",
    "bimonthly": "*-01,03,05,07,09,11-01 05:30:00 UTC",
}
_SERVICE: Final = """\
[Unit]
Description={what}
Wants=network-online.target
After=network-online.target

[Service]
{body}NoNewPrivileges=yes
Nice=5
IOSchedulingClass=idle
"""
_TIMER: Final = """\
[Unit]
Description={what}

[Timer]
{when}
Persistent=yes
RandomizedDelaySec=20

[Install]
WantedBy=timers.target
"""


def units(
    site: str, file: str, program: str, jobs: Mapping[str, str | float], *, mounts: bool = False
) -> dict[str, str]:
    """The units of a site whose settings are in ``file``; ``program`` is the path of ``asset``, ``jobs`` name → when.

    ``mounts``: there is also one that mounts its media after a boot, before the web server starts. It must end with none of the mounts.
    """
    name = f"holdfast-site-{site}"
    command = f"ExecStart={_word(program)} site run --file {_word(file)}"
    stays = f"Type=exec\n{command}\nRestart=on-failure\nRestartSec=5\nTimeoutStopSec=90\n"
    found = {f"{name}.service": _SERVICE.format(what=f"The site {site}", body=stays) + _INSTALL}
    if mounts:
        attach = f"ExecStart={_word(program)} site attach --file {_word(file)}"
        body = f"Type=oneshot\nRemainAfterExit=yes\nKillMode=process\n{attach}\nRestart=on-failure\nRestartSec=15\n"
        text = _SERVICE.format(what=f"Media of the site {site}", body=body) + _INSTALL
        found[f"{name}-attach.service"] = text.replace(_ORDER, f"{_ORDER}Before={_WEB}\n", 1)
    for job, when in jobs.items():
        what, unit = f"The site {site}: {job}", f"{name}-{job.replace(' ', '-')}"
        once = f"Type=oneshot\n{command} --job {_word(job)}\n"
        found[f"{unit}.service"] = _SERVICE.format(what=what, body=once)
        found[f"{unit}.timer"] = _TIMER.format(what=what, when=_when(when))
    return found


_ORDER: Final = "After=network-online.target\n"
_WEB: Final = "nginx.service apache2.service httpd.service lighttpd.service"
_INSTALL: Final = """
[Install]
WantedBy=multi-user.target
"""


def _when(when: str | float) -> str:
    if isinstance(when, str):
        return f"OnCalendar={_CALENDAR[when]}"
    return f"OnBootSec=60\nOnUnitActiveSec={when:g}"


def _word(text: str) -> str:
    """One word of a command, quoted as systemd reads it: no variable and no specifier is seen in it."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{quoted}"'
