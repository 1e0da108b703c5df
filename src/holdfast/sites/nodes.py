"""What the web servers of a site say of their media, in the site's store: each under a name of its own, written by that server alone."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.disk import local_errors
from holdfast.errors import UsageError
from holdfast.formats.layout import node_key, nodes_prefix
from holdfast.formats.records import stamp
from holdfast.formats.sites import NodeRecord, decode_record, encode_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.repository import Repository

__all__ = ["node_name", "nodes_of", "publish", "read_nodes", "said_by"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")


def node_name(state: str, given: str | None = None, *, dry_run: bool = False) -> str:
    """This web server's name: as given, else as it was given before, else the machine's; kept below ``state``, but by a dry run.

    Raises:
        UsageError: no name that a server can have.
    """
    path = Path(state) / "node"
    with local_errors(path):
        kept = path.read_text("utf-8").strip() if path.exists() else None
        name = given or kept or socket.gethostname().partition(".")[0] or "server"
        if not _NAME.match(name):
            raise UsageError(
                f"{name!r} is no name of a web server", subject=name, hint="letters, digits, '.', '_', '-'"
            )
        if given is not None and given != kept and not dry_run:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(name, "utf-8")
    return name


def publish(
    repository: Repository, site: str, node: str, deployment: str, directories: Mapping[str, str]
) -> NodeRecord:
    """Say how the media of this server are; without directories that it has left."""
    now = stamp(repository.clock.now())
    record = NodeRecord(1, node, deployment, now, dict(directories), left=not directories)
    repository.store.put(node_key(site, node), encode_record(record))
    return record


def nodes_of(repository: Repository, site: str) -> dict[str, tuple[NodeRecord, float]]:
    """What every server said last, by name, and how many seconds ago by the store's clock."""
    found = _read(repository, site)
    now = repository.catalog.store_now().timestamp() if found else 0.0
    return {record.node: (record, max(0.0, now - modified)) for record, modified in found}


def said_by(repository: Repository, site: str) -> dict[str, NodeRecord]:
    """What every server said last, by name. The store's clock, which is asked by writing, is not."""
    return {record.node: record for record, _ in _read(repository, site)}


def _read(repository: Repository, site: str) -> list[tuple[NodeRecord, float]]:
    """The records, each with when it was written."""
    listed = list(repository.store.list(nodes_prefix(site)))
    return [
        (decode_record(repository.store.get(info.key).data, NodeRecord, info.key), info.modified) for info in listed
    ]


def read_nodes(path: str) -> list[str]:
    """The names in a file, one a line; what follows ``#`` is none.

    Raises:
        UsageError: there is no such file, no name in it, or a line is none.
        LocalError: it cannot be read.
    """
    if not os.path.exists(path):
        raise UsageError(f"there is no {path}", subject=path)
    with local_errors(Path(path)):
        lines = Path(os.fspath(path)).read_text("utf-8", errors="replace").splitlines()
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    wrong = next((name for name in names if not _NAME.match(name)), None)
    if wrong is not None or not names:
        what = f"{wrong!r} is no name of a web server" if wrong is not None else "it names no web server"
        raise UsageError(f"{path}: {what}", subject=path, hint="one name a line, as attach --node gave it")
    return list(dict.fromkeys(names))
