"""From a file to a plan: the settings of one site, read and judged."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.errors import UsageError
from holdfast.sites.plan import Facts, Plan, Resolved, resolve
from holdfast.sites.settings import read_file, read_template

if TYPE_CHECKING:
    from holdfast.sites.values import Problem, SiteSettings

__all__ = ["DEFAULT_FILE", "Site", "load_site"]

DEFAULT_FILE: Final = "site.toml"


@dataclass(frozen=True, slots=True)
class Site:
    """A site's settings, where they come from, and what was wrong or doubtful in them when they were read."""

    origin: Path
    settings: SiteSettings
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    def resolve(self, facts: Facts = Facts()) -> Resolved:  # noqa: B008 - it is frozen
        """Every rule, judged."""
        return resolve(self.settings, facts, problems=self.problems, warnings=self.warnings)

    @property
    def plan(self) -> Plan:
        """The resolved plan.

        Raises:
            UsageError: a rule refuses; the first is told, and where to see the others.
        """
        resolved = self.resolve()
        if resolved.plan is None:
            first = resolved.errors[0]
            more = f" (and {len(resolved.errors) - 1} more)" if len(resolved.errors) > 1 else ""
            raise UsageError(
                f"{self.origin}: {first.setting}: {first.message}{more}",
                subject=first.setting,
                hint="asset site check explains every rule",
            )
        return resolved.plan


def load_site(file: str | None, template: str | None) -> Site:
    """The site of a ``site.toml`` (in the current folder, where nothing is named), or of a template with the seed's names.

    Raises:
        UsageError: both are named; what is named is not there; it cannot be understood at all.
        LocalError: there is no site.toml in the current folder, or it cannot be read.
    """
    if file is not None and template is not None:
        raise UsageError("--file and --template are two ways to say the same", subject=file, hint="give one of them")
    for named in filter(None, (file, template)):
        if not os.path.exists(named):
            hint = "asset site init writes one, --file and --template name another"
            raise UsageError(f"there is no {named}", subject=named, hint=hint)
    if template is not None:
        path = Path(template)
        settings, problems, warnings = read_template(path)
        return Site(path, settings, tuple(problems), tuple(warnings))
    path = Path(file or DEFAULT_FILE)
    settings, problems = read_file(path)
    return Site(path, settings, tuple(problems), ())
