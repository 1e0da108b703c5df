"""``asset server``: a server on this machine, its database and its secret.

The commands take ``--data``, ``--database`` or ``--config`` as the server is started with. What they do is :mod:`holdfast.server`'s; people
and projects, which are looked after over HTTP as well, are in ``users``, ``groups`` and ``hosting``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdfast.cli.administration import administration, placed, told
from holdfast.cli.groups import group_command, role_command
from holdfast.cli.hosting import project_command
from holdfast.cli.invitations import invite_command
from holdfast.cli.options import Session, command, dry_run, group, print_help
from holdfast.cli.output import marked, print_json, print_lines, print_table
from holdfast.cli.users import user_command

if TYPE_CHECKING:
    from holdfast.cli.administration import Place

__all__ = ["server_command"]


@group("server")
def server_command(context: click.Context) -> None:
    """Run a server, and look after its people and projects.

    One command gives a working server; the first account is added beside it. The database holds people, roles, tokens, projects and
    the audit log, never the assets themselves.

    Examples:
      asset server start --data /srv/holdfast
      asset server user add ann --admin --password-stdin --data /srv/holdfast < password
      asset server project add models s3://bucket/models --credentials-file keys.env --data /srv/holdfast
      asset server role models bob writer --data /srv/holdfast
    """
    print_help(context)


@command("start")
@click.option("--host", metavar="HOST", default="127.0.0.1", help="Where it listens; 127.0.0.1 unless told.")
@click.option("--port", metavar="PORT", type=click.IntRange(0, 65535), default=8000, help="8000 unless told; 0: any.")
@click.option("--tls-cert", metavar="FILE", help="A certificate, in PEM.")
@click.option("--tls-key", metavar="FILE", help="Its key, in PEM.")
@click.option(
    "--behind-proxy",
    metavar="CIDR",
    multiple=True,
    help="Addresses of the proxy that has the certificate; forwarded headers count only from there.",
)
@placed
def start_command(
    session: Session,
    *,
    host: str,
    port: int,
    tls_cert: str | None,
    tls_key: str | None,
    behind_proxy: tuple[str, ...],
    place: Place,
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests that have begun get 25 seconds to end, or until it comes again.

    A new SQLite database and the secret file (readable by its owner alone) are made at the first start. Another host than loopback
    needs a certificate, or a proxy that has one.

    Examples:
      asset server start --data /srv/holdfast
      asset server start --data /srv/holdfast --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem
      asset server start --config /etc/holdfast/server.toml --host 10.0.0.5 --behind-proxy 10.0.0.1/32
    """
    settings = place.settings(session, behind_proxy=behind_proxy)
    from holdfast.server.start import Listen, prepare, serve

    listen = Listen(
        host, port, None if tls_cert is None else Path(tls_cert), None if tls_key is None else Path(tls_key)
    )
    listen.check(settings)
    service = prepare(settings)

    def ready(url: str) -> None:
        if session.json:
            print_json({"url": url})
        else:
            print_lines([f"serving at {url}"])
        sys.stdout.flush()

    if not service.has_people():
        session.progress.warn("nobody can sign in yet: asset server user add NAME --admin --password-stdin …")
    serve(service, listen, ready)


@command("migrate")
@dry_run
@placed
def migrate_command(session: Session, *, dry_run: bool, place: Place) -> None:
    """Bring the database to the state that this release needs.

    Make a backup before. Servers of the older release stop answering once it has begun.

    Examples:
      asset server migrate --database postgresql+psycopg://holdfast@db/holdfast --secret-file /etc/holdfast/secret
    """
    settings = place.settings(session)
    from holdfast.server.migrate import answering, next_state, open_as_it_is, open_database, revision, upgrade

    database = (open_as_it_is if dry_run else open_database)(settings, current=False)
    try:
        before = revision(database)
        after = next_state(before)
        if not dry_run:
            with answering():
                upgrade(database)
    finally:
        database.close()
    was = "" if before == after else f", it {'is' if dry_run else 'was'} at {before or 'nothing'}"
    told(
        session,
        {"before": before, "after": after},
        f"the database {'would be' if dry_run else 'is'} at {after}{was}",
        dry_run=dry_run,
    )


@command("backup")
@click.argument("file")
@dry_run
@placed
def backup_command(session: Session, file: str, *, dry_run: bool, place: Place) -> None:
    """Write people, groups, roles, tokens, projects and the audit log into a new file.

    Credentials of projects are in it as they are sealed; the secret that opens them is not, and is kept apart. What assets there are is
    in the buckets.

    Examples:
      asset server backup holdfast.backup --data /srv/holdfast
    """
    with administration(session, place, dry_run=dry_run) as deeds:
        from holdfast.server.backup import backup

        _counted(session, backup(deeds.database, Path(file), time.time(), dry_run=dry_run), dry_run=dry_run)


@command("restore")
@click.argument("file")
@dry_run
@placed
def restore_command(session: Session, file: str, *, dry_run: bool, place: Place) -> None:
    """Put a backup into a database in which nobody is yet.

    The secret file of the old server must be in its place if the backup holds credentials of projects: without one nothing is
    restored, and with another one the projects that it cannot open are named. Then: asset server rebuild.

    Examples:
      asset server restore holdfast.backup --data /srv/new
    """
    settings = place.settings(session)
    from holdfast.server.backup import restore, unopened

    locked = unopened(Path(file), settings.secret)
    with administration(session, place, current=False, make=True, dry_run=dry_run) as deeds:
        if locked:
            names = ", ".join(locked)
            session.progress.warn(
                f"{settings.secret} does not open the credentials of {names}: put the old secret there"
            )
        _counted(session, restore(deeds.database, Path(file), dry_run=dry_run), dry_run=dry_run)


@command("rotate-secret")
@dry_run
@placed
def rotate_secret_command(session: Session, *, dry_run: bool, place: Place) -> None:
    """Make another key in the secret file, and seal every project's credentials with it.

    Servers at work go on. A backup made before needs the old secret: make another one.

    Examples:
      asset server rotate-secret --data /srv/holdfast
    """
    with administration(session, place, dry_run=dry_run) as deeds:
        from holdfast.server.backup import rotate_secret

        count = rotate_secret(deeds.database, deeds.settings.secret, time.time(), dry_run=dry_run)
    text = f"another secret; credentials of {count} projects {'would be' if dry_run else 'are'} sealed with it"
    told(session, {"projects": count}, text, dry_run=dry_run)


@command("rebuild")
@dry_run
@placed
def rebuild_command(session: Session, *, dry_run: bool, place: Place) -> None:
    """Make the database's copy of the catalogs anew from the buckets.

    Lists and searches answer from it. Nothing is lost where it is gone: the buckets are the truth.

    Examples:
      asset server rebuild --data /srv/holdfast
    """
    settings = place.settings(session)
    from holdfast.server.scanning import rebuild
    from holdfast.server.start import prepare

    service = prepare(settings, make=False)
    try:
        made = rebuild(service, dry_run=dry_run)
    finally:
        service.close()
    if session.json:
        print_json(made)  # by names of projects, among which no other word belongs
        return
    print_table(("PROJECT", "ASSETS"), [(name, str(count)) for name, count in made.items()])
    _nothing_done(session, dry_run=dry_run)


def _counted(session: Session, rows: dict[str, int], *, dry_run: bool) -> None:
    if session.json:
        print_json(marked(rows, dry_run=dry_run))
        return
    print_table(("TABLE", "ROWS"), [(name, str(count)) for name, count in rows.items()])
    _nothing_done(session, dry_run=dry_run)


def _nothing_done(session: Session, *, dry_run: bool) -> None:
    if dry_run and not session.quiet:
        print_lines(["nothing was done"])


for _command in (
    start_command,
    migrate_command,
    backup_command,
    restore_command,
    rotate_secret_command,
    rebuild_command,
    user_command,
    invite_command,
    group_command,
    role_command,
    project_command,
):
    server_command.add_command(_command)
