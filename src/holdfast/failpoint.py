"""Named points at which a test kills the process, to prove that a re-run converges.

Owns one environment variable, ``HOLDFAST_FAILPOINT``: where its value is the name reached (``name#3``: for the third time), the process ends at
once, as by ``kill -9``. Every step of design §3 calls :func:`reach`; ``POINTS`` lists the names, and a test walks the list.
"""

from __future__ import annotations

import os
import signal

#: Every name given to :func:`reach`, in the order in which a push, a removal, a fetch and an eviction pass them.
POINTS = (
    "push.opened",
    "push.pack-written",
    "push.packed",
    "push.scanned",
    "push.before-claim",
    "push.claimed",
    "push.data-partly",
    "push.condemned-reread",
    "push.root-written",
    "push.data-written",
    "push.claim-reread",
    "push.meta-written",
    "push.listed",
    "push.aliased",
    "push.closed",
    "path.temp-written",
    "path.linked",
    "path.generation-linked",
    "path.mirror-written",
    "remove.tombstone-written",
    "remove.unlisted",
    "withdraw.tombstone-written",
    "collect.final",
    "collect.marked",
    "collect.meta-deleted",
    "collect.data-partly",
    "collect.objects-partly",
    "collect.deleted",
    "collect.done-written",
    "collect.condemned",
    "fetch.resolved",
    "fetch.temp-made",
    "fetch.data-partly",
    "fetch.verified",
    "fetch.before-rename",
    "fetch.renamed",
    "fetch.recorded",
    "export.member-written",
    "site.before-push",
    "site.pushed",
    "site.proven",
    "site.copied",
    "site.step",
    "site.tried",
    "site.media-partly",
    "site.restore-brought",
    "site.restore-aside",
    "site.restore-placed",
    "site.aside-made",
    "site.aside-exchanged",
    "site.purged",
    "evict.announced",
    "evict.doomed",
    "evict.forgotten",
    "replicate.kept",
    "replicate.sent",
    "replicate.removed",
    "replicate.saved",
    "replicate.expired",
    "sync.pack-written",
    "sync.packs-written",
    "sync.published",
    "sync.agreeing",
    "sync.intended",
    "sync.staged",
    "sync.displaced",
    "sync.laid-partly",
    "sync.laid",
    "sync.mirrored",
    "follow.added",
    "edits.noted",
    "edits.pushed",
    "edits.mounted",
    "edits.held",
    "edits.left",
    "edits.moved",
    "edits.replaced",
    "edits.cleared",
)

_armed, _, _count = (os.environ.get("HOLDFAST_FAILPOINT") or "").partition("#")
_times = int(_count or 1)
_met = 0


def reach(name: str) -> None:
    """Die here, without any clean-up, if this point is armed; else cost one comparison."""
    if _armed and _armed == name:
        _meet()


def _meet() -> None:
    global _met  # noqa: PLW0603 - a test counts how often one process passes one point
    _met += 1
    if _met >= _times:
        os.kill(os.getpid(), signal.SIGKILL)
