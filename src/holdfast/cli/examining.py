"""``asset site doctor``: what of this machine stands in a site's way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.cli.options import Session, command
from holdfast.cli.output import print_json, print_lines
from holdfast.cli.sites import site_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.sites.doctor import Check

__all__ = ["doctor_command"]


@command("doctor")
@site_options
def doctor_command(session: Session, *, file: str | None, template: str | None) -> int:
    """Look at what a site needs of this machine: FUSE, the mounter, clock, cache disk, scanners, inotify.

    Nothing is changed, but that a scratch object is written to the first store, to learn its time. Each check is ok, a warning or an error, and says what to do.

    Examples:
      asset site doctor
      asset site doctor --json
    """
    from holdfast.sites.doctor import ERROR, examined
    from holdfast.sites.loading import load_site
    from holdfast.sites.machine import gather

    plan = load_site(file, template).plan
    checks = examined(plan, gather(plan))
    if session.json:
        print_json(checks)
    else:
        print_lines(_lines(checks))
    return 1 if any(each.state == ERROR for each in checks) else 0


def _lines(checks: list[Check]) -> Iterator[str]:
    for each in checks:
        yield f"{each.state:8} {each.name}: {each.message}"
        if each.hint:
            yield f"         {each.hint}"
