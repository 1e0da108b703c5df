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

from holdfast.cli.administration import administration, placed
from holdfast.cli.groups import group_command, role_command
from holdfast.cli.hosting import project_command
from holdfast.cli.invitations import invite_command
from holdfast.cli.options import Session, command, group, print_help
from holdfast.cli.output import print_json, print_lines, print_table
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
    """Serve until SIGTERM or Ctrl-C; requests that have begun are answered.

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
@placed
def migrate_command(session: Session, *, place: Place) -> None:
    """Bring the database to the state that this release needs.

    Make a backup before. Servers of the older release stop answering once it has begun.

    Examples:
      asset server migrate --database postgresql+psycopg://holdfast@db/holdfast --secret-file /etc/holdfast/secret
    """
    settings = place.settings(session)
    from holdfast.server.migrate import open_database, revision, upgrade

    database = open_database(settings, current=False)
    try:
        before = revision(database)
        upgrade(database)
        after = revision(database)
    finally:
        database.close()
    if session.json:
        print_json({"before": before, "after": after})
    else:
        print_lines([f"the database is at {after}" + ("" if before == after else f", it was at {before or 'nothing'}")])


@command("backup")
@click.argument("file")
@placed
def backup_command(session: Session, file: str, *, place: Place) -> None:
    """Write people, groups, roles, tokens, projects and the audit log into a new file.

    Credentials of projects are in it as they are sealed; the secret that opens them is not, and is kept apart. What assets there are is
    in the buckets.

    Examples:
      asset server backup holdfast.backup --data /srv/holdfast
    """
    with administration(session, place) as deeds:
        from holdfast.server.backup import backup

        _counted(session, backup(deeds.database, Path(file), time.time()))


@command("restore")
@click.argument("file")
@placed
def restore_command(session: Session, file: str, *, place: Place) -> None:
    """Put a backup into a database in which nobody is yet.

    The secret file of the old server must be in its place if the backup holds credentials of projects: without one nothing is
    restored, and with another one the projects that it cannot open are named. Then: asset server rebuild.

    Examples:
      asset server restore holdfast.backup --data /srv/new
    """
    settings = place.settings(session)
    from holdfast.server.backup import restore, unopened

    locked = unopened(Path(file), settings.secret)
    with administration(session, place, current=False, make=True) as deeds:
        if locked:
            names = ", ".join(locked)
            session.progress.warn(
                f"{settings.secret} does not open the credentials of {names}: put the old secret there"
            )
        _counted(session, restore(deeds.database, Path(file)))


@command("rotate-secret")
@placed
def rotate_secret_command(session: Session, *, place: Place) -> None:
    """Make another key in the secret file, and seal every project's credentials with it.

    Servers at work go on. A backup made before needs the old secret: make another one.

    Examples:
      asset server rotate-secret --data /srv/holdfast
    """
    with administration(session, place) as deeds:
        from holdfast.server.backup import rotate_secret

        count = rotate_secret(deeds.database, deeds.settings.secret, time.time())
    if session.json:
        print_json({"projects": count})
    else:
        print_lines([f"another secret; credentials of {count} projects are sealed with it"])


@command("rebuild")
@placed
def rebuild_command(session: Session, *, place: Place) -> None:
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
        made = rebuild(service)
    finally:
        service.close()
    if session.json:
        print_json(made)
    else:
        print_table(("PROJECT", "ASSETS"), [(name, str(count)) for name, count in made.items()])


def _counted(session: Session, rows: dict[str, int]) -> None:
    if session.json:
        print_json(rows)
    else:
        print_table(("TABLE", "ROWS"), [(name, str(count)) for name, count in rows.items()])


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
