"""Every key in a store and every path in the cache is spelled here and nowhere else (FORMAT.md §2 and §8).

Keys are relative to the store's prefix. Keys of ours hold the asset's name as one encoded piece: every byte but
``A-Z a-z 0-9 _ -`` is written ``%XX``, so none of them ends in ``.versions`` or ``.meta`` and all are reversible.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ASSETS",
    "BACKUP_OUTSIDE",
    "BACKUP_OWN",
    "BRANCH_MARKS",
    "CANARY",
    "GC",
    "GC_DONE_END",
    "META_END",
    "OWN",
    "PACKS",
    "PAGES",
    "PUSHES",
    "SITE_MARK",
    "STAGED",
    "STORE",
    "VERSIONS_END",
    "asset_key",
    "branch_mark",
    "claim_key",
    "claims_prefix",
    "copied_key",
    "copied_trash",
    "copy_pairs_key",
    "data_key",
    "decode_name",
    "deployment_key",
    "encode_name",
    "file_key",
    "gc_done_key",
    "gc_key",
    "is_work_dir",
    "lease_key",
    "meant",
    "media_key",
    "meta_key",
    "name_of_versions_key",
    "node_key",
    "nodes_prefix",
    "outside_name",
    "pack_key",
    "pages_key",
    "part_record",
    "probe_key",
    "push_key",
    "push_of_staged",
    "staged_key",
    "staged_prefix",
    "sync_head_key",
    "sync_heads",
    "sync_pack_key",
    "sync_packs",
    "versions_key",
    "work_name",
    "work_pieces",
]

#: The first piece of every key of ours; no asset's name starts with it.
OWN: Final = ".holdfast"
#: The mark of a bucket of media, in that bucket.
SITE_MARK: Final = f"{OWN}/site.json"
#: The marks of the branches of a merged directory, each in the bucket of that branch.
BRANCH_MARKS: Final = f"{OWN}/branch-"
#: A key that no bucket of media has: asking for it asks the store, and for one small folder only.
CANARY: Final = f"{OWN}/canary"
#: The folder at the top of a site's backup that holds what the commands before it made.
BACKUP_OWN: Final = ".holdfast-site"
#: How the names begin under which directories outside of the webroot are at the top of its backup.
BACKUP_OUTSIDE: Final = ".holdfast-outside-"
#: The store's own record.
STORE: Final = f"{OWN}/store.json"
VERSIONS_END: Final = ".versions"
META_END: Final = ".meta"
#: What the packs, the pages objects, the push records, the records of assets and the condemned lists lie under.
PACKS: Final = f"{OWN}/packs"
PAGES: Final = f"{OWN}/pages"
PUSHES: Final = f"{OWN}/pushes"
ASSETS: Final = f"{OWN}/assets"
#: What pushes through a mount lie under until the server takes them to their keys. Not below the record of the push, because in a
#: mount a file has nothing below it.
STAGED: Final = f"{OWN}/staged"
GC: Final = f"{OWN}/gc"
#: The end of the key that says that a condemned list is dealt with.
GC_DONE_END: Final = ".done"
#: modelkit's marker of a complete copy, in the root of a directory; for a file ``.<version>.SUCCESS`` beside it.
MARKER: Final = ".SUCCESS"
#: The stem of work directories inside of a folder that was there.
WORK_STEM: Final = OWN.removeprefix(".")
_WORK_END: Final = ".part"
_IN_THE_MAKING: Final = re.compile(r'/(\.[^/\n]+\.part)(?:/copy|/scratch)?(?=[/\x27":,\s]|$)')


def encode_name(name: str) -> str:
    """The name as one piece of a key."""
    return quote(name, safe="").replace(".", "%2E").replace("~", "%7E")


def decode_name(piece: str) -> str:
    """The name that was encoded."""
    return unquote(piece)


def versions_key(name: str) -> str:
    """The list of versions, newest first; swapped."""
    return name + VERSIONS_END


def name_of_versions_key(key: str) -> str | None:
    """The asset whose list this is, or None where the key is no such list."""
    if not key.endswith(VERSIONS_END) or key.startswith(OWN + "/"):
        return None
    return key.removesuffix(VERSIONS_END) or None


def data_key(name: str, version: str) -> str:
    """The bytes of a file or archive; the prefix of a tree's files."""
    return f"{name}/{version}"


def file_key(name: str, version: str, path: str) -> str:
    """One file of a tree."""
    return f"{name}/{version}/{path}"


def meta_key(name: str, version: str) -> str:
    """The meta of a version; created once, last."""
    return data_key(name, version) + META_END


def claims_prefix(name: str) -> str:
    """What the claims of an asset lie under; of all assets, for an empty name."""
    return f"{OWN}/claims/{encode_name(name)}".rstrip("/")


def claim_key(name: str, version: str) -> str:
    """Who holds this number; created once, stays."""
    return f"{claims_prefix(name)}/{version}"


def asset_key(name: str) -> str:
    """Aliases, tombstones, holds; swapped."""
    return f"{ASSETS}/{encode_name(name)}"


def outside_name(path: str) -> str:
    """The name at the top of a site's backup under which a directory outside of the webroot is in it."""
    return BACKUP_OUTSIDE + quote(path, safe="").replace(".", "%2E")


def push_key(push_id: str) -> str:
    """The record of an open or closed push."""
    return f"{PUSHES}/{push_id}"


def staged_prefix(push_id: str) -> str:
    """What a push has written through a mount and nobody took yet."""
    return f"{STAGED}/{push_id}"


def staged_key(push_id: str, piece: str) -> str:
    """One object of it; ``piece`` is any name of one piece, used once."""
    return f"{staged_prefix(push_id)}/{piece}"


def push_of_staged(key: str) -> str:
    """The id of the push that staged the object under this key."""
    return key.removeprefix(f"{STAGED}/").partition("/")[0]


def pack_key(name: str) -> str:
    """A pack: chunks of files; ``name`` is its hex name. Created once."""
    return f"{PACKS}/{name[:2]}/{name}"


def pages_key(name: str) -> str:
    """An object of manifest pages; ``name`` is its hex name. Created once."""
    return f"{PAGES}/{name[:2]}/{name}"


def gc_key(epoch: str) -> str:
    """What a collector condemned in one run; created once, kept for ever."""
    return f"{GC}/{epoch}"


def gc_done_key(epoch: str) -> str:
    """Says that everything on that list is dealt with; created once."""
    return f"{GC}/{epoch}{GC_DONE_END}"


def copied_key(bucket: str, key: str) -> str:
    """An object of a bucket of media, in its copy; for an empty key what all of them lie under."""
    return f"{bucket}/{key}".rstrip("/")


def copy_pairs_key(bucket: str) -> str:
    """What a bucket and its copy had in common when they were last looked at; swapped."""
    return f"{OWN}/copies/{encode_name(bucket)}/pairs"


def copied_trash(bucket: str, run: str = "", key: str = "") -> str:
    """What a copy keeps of objects that were deleted or overwritten: all of a bucket, of one run, or one of them."""
    return "/".join(piece for piece in (OWN, "copies", encode_name(bucket), "trash", run, key) if piece)


def work_name(stem: str, identity: str, owner: str) -> str:
    """The name of what a process has in the making, or is removing, beside ``stem``: ``.<stem>.<id>.<owner>.part`` (FORMAT.md §8)."""
    return f".{stem}.{identity}.{owner}{_WORK_END}"


def work_pieces(name: str) -> tuple[str, str, str] | None:
    """Stem, identity and owner of such a name; None for any other name."""
    pieces = name[1:].removesuffix(_WORK_END).rsplit(".", 2)
    if not name.startswith(".") or not name.endswith(_WORK_END) or len(pieces) != 3 or not all(pieces):
        return None
    return pieces[0], pieces[1], pieces[2]


def is_work_dir(name: str) -> bool:
    """Whether a name in a user's folder is that of a copy in the making: ``.holdfast.<id>.<owner>.part``."""
    pieces = work_pieces(name)
    return pieces is not None and pieces[0] == WORK_STEM


def meant(text: str) -> str:
    """A text in which a path of something in the making reads as it will: ``/a/.b.<id>.<owner>.part/copy/c`` is ``/a/b/c``."""

    def named(found: re.Match[str]) -> str:
        pieces = work_pieces(found[1])
        if pieces is None:
            return found[0]
        return "" if pieces[0] == WORK_STEM else f"/{pieces[0]}"

    return _IN_THE_MAKING.sub(named, text)


def part_record(part: Path) -> Path:
    """Where the record of a part that was fetched alone lies: beside it."""
    return part.with_name(f".{part.name}.json")


def deployment_key(site: str) -> str:
    """Which deployment a site has; swapped."""
    return f"{OWN}/sites/{encode_name(site)}/deployment"


def branch_mark(number: int) -> str:
    """The mark of a branch of a merged directory, counted from 1, in its bucket: no two branches have one key."""
    return f"{BRANCH_MARKS}{number}.json"


def media_key(site: str, bucket: str) -> str:
    """What a deployment put into a bucket of media; overwritten by whoever holds the site's lease on deploying."""
    return f"{OWN}/sites/{encode_name(site)}/media/{encode_name(bucket)}"


def nodes_prefix(site: str) -> str:
    """What the states of a site's web servers lie under."""
    return f"{OWN}/sites/{encode_name(site)}/nodes"


def node_key(site: str, node: str) -> str:
    """What a web server said last of its media; overwritten by that server alone."""
    return f"{nodes_prefix(site)}/{encode_name(node)}"


def lease_key(site: str, work: str) -> str:
    """Who does this piece of a site's work now; swapped. Both are names without slashes."""
    return f"{OWN}/sites/{encode_name(site)}/leases/{encode_name(work)}"


def sync_heads(site: str) -> str:
    """What the heads of all logs of a site's webroots lie under."""
    return f"{OWN}/sites/{encode_name(site)}/sync/heads"


def sync_head_key(site: str, node: str) -> str:
    """The head of one web server's log; swapped by that server alone."""
    return f"{sync_heads(site)}/{encode_name(node)}"


def sync_packs(site: str, node: str) -> str:
    """What the packs of one web server's log lie under."""
    return f"{OWN}/sites/{encode_name(site)}/sync/packs/{encode_name(node)}"


def sync_pack_key(site: str, node: str, name: str) -> str:
    """One pack of it; created once, removed by that server once no head names it."""
    return f"{sync_packs(site, node)}/{name}"


def probe_key(token: str) -> str:
    """A scratch key on which a store's conditions are probed."""
    return f"{OWN}/probe/{token}"


def generations_prefix(key: str) -> str:
    """Where a POSIX store keeps the generations of a swapped key."""
    return f"{OWN}/gen/{key}"


def temporary_prefix() -> str:
    """Where a POSIX store writes before it links or renames."""
    return f"{OWN}/tmp"  # noqa: S108 - a key of a store
