"""``asset verify``, ``asset repair`` and ``asset doctor``: what is wrong, and what can be put right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.completion import complete_name, complete_spec
from holdfast.cli.options import Session, command, dry_run
from holdfast.cli.output import print_json, print_lines
from holdfast.errors import KINDS, UsageError
from holdfast.model.spec import AssetSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.model.result import Finding

__all__ = ["doctor_command", "repair_command", "report", "verify_command"]


@command("verify", transfers=True)
@click.argument("spec", required=False, shell_complete=complete_spec)
@click.option("--all", "everything", is_flag=True, help="Every version of the asset named, or of every asset.")
@click.option("--deep", is_flag=True, help="Read every byte and compare it with its digest.")
def verify_command(session: Session, spec: str | None, *, everything: bool, deep: bool) -> int:
    """Check that versions in the store are whole.

    A name without a version means all its versions, and without SPEC every asset is checked. Without --deep it is looked whether
    all objects are there with their lengths; with it every byte is read, once. What is wrong is listed with the files that it
    concerns, and the exit code is that of the first finding's kind.

    Examples:
      asset verify nlp/bert:1.4 --deep
      asset verify nlp/bert
      asset verify --all
    """
    from holdfast import maintain

    if spec is not None and everything and AssetSpec.parse(spec).version is not None:
        raise UsageError("--all takes an asset's name, without a version", subject=spec, hint=f"asset verify {spec}")
    return report(session, maintain.verify(session.repository, spec, deep=deep))


@command("repair")
@click.argument("name", required=False, shell_complete=complete_name)
@dry_run
def repair_command(session: Session, name: str | None, *, dry_run: bool) -> int:
    """Put right what a killed push or another program left: claims, unlisted versions.

    Whole versions that are not listed are listed; a number is freed whose push is dead for longer than the store's limit, or
    was interrupted or failed more than a minute ago. Of a version in packs, its root and pages are put back where they are known
    on this machine. No version is ever deleted. Without NAME every asset is looked at.

    Examples:
      asset repair --dry-run
      asset repair nlp/bert
    """
    from holdfast import maintain

    return report(session, maintain.repair(session.repository, name, dry_run=dry_run))


@command("doctor")
@click.argument("place", required=False, metavar="[STORE]")
def doctor_command(session: Session, place: str | None) -> int:
    """Check the settings, the assets folder, the store and what it can promise.

    It changes nothing but scratch objects of its own, by which it finds out whether the store keeps conditional writes apart.

    Examples:
      asset doctor
      asset doctor s3://bucket/prefix
    """
    from holdfast.cli.doctor import examine

    if place is not None:
        session.store = place
    return report(session, examine(session), everything=True)


def report(session: Session, findings: Iterable[Finding], *, everything: bool = False) -> int:
    """Print findings; those in order only where ``everything``, or -v, asks for it. The exit code of the first that is not."""
    found = list(findings)
    bad = [finding for finding in found if not finding.ok]
    if session.json:
        document: dict[str, object] = {"ok": not bad, "checked": len(found), "findings": found}
        if bad:
            document["error"] = {"kind": _kind(bad[0]), "message": _said(bad[0]), "hint": None}
        print_json(document)
    else:
        shown = found if everything or session.verbose else [each for each in found if each.state != "ok"]
        print_lines(f"{each.state:12} {_said(each)}" for each in shown)
        if not session.quiet:
            print_lines(
                [f"{len(found)} checked, {len(bad)} not in order" if bad else f"{len(found)} checked, all in order"]
            )
    return KINDS[_kind(bad[0])][0] if bad else 0


def _kind(finding: Finding) -> str:
    return finding.state if finding.state in KINDS else "integrity"


def _said(finding: Finding) -> str:
    return f"{finding.subject}: {finding.message}" if finding.message else finding.subject
