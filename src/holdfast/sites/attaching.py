"""What attaching decides: where a directory lies and goes, what its bucket must hold, which files are looked at, whether all servers are ready. Pure.

A bucket is judged by the list that the deployment made of it. Until a first web server serves that deployment, the two must agree;
afterwards an application may have added, changed and removed media, and only a bucket that lost most of them is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from holdfast.formats.sites import NodeRecord
    from holdfast.sites.offload import Found, Wanted
    from holdfast.sites.plan import MountPlan

__all__ = [
    "FROM_COPY",
    "MOUNTED",
    "MOUNTING",
    "Checked",
    "Spot",
    "added_up",
    "aside_name",
    "below_root",
    "directory_of",
    "judge_bucket",
    "not_ready",
    "sample",
    "spot_of",
    "unlike",
]

#: What is said of a directory that is mounted and answers.
MOUNTED: Final = "MOUNTED"
#: What is said of one that shows a copy of its bucket, and answers.
FROM_COPY: Final = "MOUNTED from a copy"
#: What a server says of each directory before it mounts the first.
MOUNTING: Final = "is being mounted"
#: A bucket that lost so many of what was deployed is not believed, from so many objects on.
_LOST_SHARE, _LOST_LEAST = 0.5, 10
#: What stands between a directory's name and the moment, in the name of a moved-aside copy.
_BETWEEN: Final = "~"
#: A directory of the whole webroot, in such a name.
_WEBROOT: Final = "="


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a directory lies: ``path`` below ``root``, which is the operator's; its moved-aside copies lie in ``held``, which nobody serves."""

    root: str
    path: str
    held: str

    @property
    def place(self) -> str:
        """The directory itself."""
        return f"{self.root.rstrip('/')}/{self.path}"


@dataclass(frozen=True, slots=True)
class Checked:
    """How a bucket compares with what was deployed; ``problem`` says why it may not be mounted."""

    objects: int
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    added: int = 0
    problem: str | None = None


def spot_of(mount: MountPlan, webroot: str, roots: Iterable[str]) -> Spot:
    """Where a directory of the plan lies.

    Raises:
        UsageError: an absolute one lies in none of the roots.
    """
    if mount.is_whole:
        above, _, name = webroot.rpartition("/")
        return Spot(above or "/", name, _beside(webroot))
    if not mount.directory.startswith("/"):
        return Spot(webroot, mount.directory, _beside(webroot))
    root, path = below_root(mount.directory, roots)
    return Spot(root, path, _beside(root))


def below_root(directory: str, roots: Iterable[str]) -> tuple[str, str]:
    """The operator's folder in which an absolute directory lies, and its path below that.

    Raises:
        UsageError: it lies in none of the roots.
    """
    inside = [root.rstrip("/") for root in roots if directory.startswith(root.rstrip("/") + "/")]
    if not inside:
        raise UsageError(f"{directory} lies in none of absolute_roots", subject=directory)
    root = max(inside, key=len)
    return root, directory[len(root) + 1 :]


def _beside(folder: str) -> str:
    above, _, name = folder.rpartition("/")
    return f"{above}/.{name}.held"


def aside_name(directory: str, stamp: str, token: str) -> str:
    """What a moved-aside copy of a directory is called: it tells which one it is, and when it was moved."""
    return f"{quote(directory, safe='') or _WEBROOT}{_BETWEEN}{stamp}-{token}"


def directory_of(name: str) -> str | None:
    """The directory of which this is a moved-aside copy; None for any other name."""
    first, between, rest = name.rpartition(_BETWEEN)
    if not between or not first or not rest:
        return None
    return "" if first == _WEBROOT else unquote(first)


def judge_bucket(wanted: Mapping[str, Wanted], found: Mapping[str, Found], *, served: bool, accept: bool) -> Checked:
    """Whether a bucket may be mounted.

    Args:
        wanted: what the deployment put there.
        found: what is there, with the digests of all objects whose sizes agree.
        served: whether a web server has had it mounted under this deployment.
        accept: whether the operator takes it as it is.
    """
    missing = tuple(sorted(wanted.keys() - found.keys()))
    both = wanted.keys() & found.keys()
    changed = tuple(
        sorted(key for key in both if (wanted[key].size, wanted[key].digest) != (found[key].size, found[key].digest))
    )
    problem = None
    if not accept:
        if not served and (missing or changed):
            first = (missing or changed)[0]
            problem = f"lacks {len(missing)} of the {len(wanted)} objects that were deployed, and {len(changed)} differ, first {first!r}"
        elif len(missing) >= max(_LOST_LEAST, _LOST_SHARE * len(wanted)):
            problem = f"has lost {len(missing)} of the {len(wanted)} objects that were deployed"
    return Checked(len(found), missing, changed, len(found) - len(both), problem)


def added_up(parts: Sequence[Checked]) -> Checked:
    """Of several buckets behind one directory, what they are together."""
    return Checked(
        sum(part.objects for part in parts),
        tuple(sorted(key for part in parts for key in part.missing)),
        tuple(sorted(key for part in parts for key in part.changed)),
        sum(part.added for part in parts),
    )


def sample(keys: Collection[str], most: int) -> list[str]:
    """So many of these keys, spread evenly over all of them in their order; those that no file system shows as they are never."""
    plain = sorted(key for key in keys if _is_path(key))
    if len(plain) <= most:
        return plain
    return [plain[at * len(plain) // most] for at in range(most)]


def _is_path(key: str) -> bool:
    return not any(piece in ("", ".", "..") or len(piece.encode()) > 255 for piece in key.split("/"))


def unlike(expected: Mapping[str, tuple[int, str | None]], told: Mapping[str, list[object]]) -> list[str]:
    """The keys of which a mount told another size or digest, or an error; each with what it told."""
    wrong = []
    for key, (size, digest) in expected.items():
        answer = told.get(key, ["was not looked at"])
        if len(answer) == 1:
            wrong.append(f"{key} ({answer[0]})")
        elif answer[0] != size or (digest is not None and answer[1] != digest):
            wrong.append(f"{key} (other bytes)")
    return wrong


def not_ready(
    nodes: Iterable[str],
    records: Mapping[str, tuple[NodeRecord, float]],
    deployment: str,
    directories: Iterable[str],
    *,
    oldest: float,
) -> dict[str, str]:
    """Which of these web servers do not have every directory mounted, each with the reason.

    Args:
        nodes: their names.
        records: what each said last, and how many seconds ago.
        deployment: the one that they must serve.
        directories: what must be mounted.
        oldest: what was said longer ago, in seconds, does not count.
    """
    waiting: dict[str, str] = {}
    for node in nodes:
        record, age = records.get(node, (None, 0.0))
        if record is None:
            waiting[node] = "said nothing yet"
        elif record.left:
            waiting[node] = "is detached"
        elif record.deployment != deployment:
            waiting[node] = "serves another deployment"
        elif age > oldest:
            waiting[node] = f"said nothing for {age:.0f} s"
        else:
            down = [each for each in directories if record.directories.get(each) != MOUNTED]
            if down:
                why = record.directories.get(down[0], "nothing is known of it")
                waiting[node] = f"{down[0] or 'the webroot'}: {why}"
    return waiting
