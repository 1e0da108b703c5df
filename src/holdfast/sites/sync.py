"""Keeps a webroot like those of the other web servers of its site: one look at everything, as often as it is asked.

The order, in which nothing is lost wherever the process is killed: read the logs, look at the disk, decide
(:mod:`holdfast.sites.merging`) → note what is about to be said → publish it → note as agreed what the disk shows → note what is about
to be laid → lay it → note it as agreed. What a process that was killed had said or laid is recognised by those notes.
"""

from __future__ import annotations

import math
import os
import pwd
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.disk import local_errors
from holdfast.errors import UnsupportedError, UsageError
from holdfast.failpoint import reach
from holdfast.mount.table import mounts
from holdfast.sites.laying import Laying
from holdfast.sites.logs import Logs
from holdfast.sites.merging import Author, Disk, decide, join
from holdfast.sites.mirroring import Mirror
from holdfast.sites.ownlog import OwnLog
from holdfast.sites.recording import STEP, Recorder
from holdfast.sites.scope import scope_of
from holdfast.sites.webroot import Webroot, confirm_deletions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from _typeshed import ReadableBuffer

    from holdfast.formats.sync import PackRecord
    from holdfast.repository import Repository
    from holdfast.sites.agreed import Agreed
    from holdfast.sites.changes import Change
    from holdfast.sites.laying import Owner
    from holdfast.sites.logs import Placed
    from holdfast.sites.merging import Deed, Outcome
    from holdfast.sites.plan import Plan
    from holdfast.sites.scope import Scope
    from holdfast.sites.webroot import Look

__all__ = ["NodeStatus", "Report", "Syncer", "check_plan"]

_MICRO: Final = 1_000_000
_HOUR: Final = 3600.0
_DAY: Final = 86400.0
#: Deletions are remembered for so long; a server that was away longer brings back what was deleted meanwhile.
REMEMBERED: Final = 90 * 86400 * _MICRO
#: A server that said nothing for so many seconds is taken for gone: what it said is said by others from then on.
SILENT: Final = 30 * _DAY


@dataclass(slots=True)
class Report:
    """What one cycle did: paths published and laid, deletions held back, what was kept, and what could not be synced, with why.

    ``deleted`` are those that were deleted: here, or by this server elsewhere. Of a dry run it is what would be done, and ``kept`` are paths.
    ``wrong`` are logs and paths whose bytes are not what they must be, ``behind`` other stores that lack something of this server's log.
    """

    node: str
    published: list[str] = field(default_factory=list)
    laid: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    behind: dict[str, str] = field(default_factory=dict)
    unsettled: bool = False

    @property
    def is_quiet(self) -> bool:
        """Whether there was nothing to do, and nothing is left to be looked at again."""
        return not (self.published or self.laid or self.unsettled)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One server: whether it is this one, for how many seconds it said nothing, on how many paths its word is in its log, and how
    many of those this one does not have yet.
    """

    node: str
    here: bool
    silent: float
    paths: int
    missing: int


def check_plan(plan: Plan) -> None:
    """Refuse what cannot be synced.

    Raises:
        UsageError: the site does not sync, or its whole webroot is one mount.
    """
    if not plan.sync_webroots:
        raise UsageError(
            f"{plan.site} does not sync its webroots",
            subject="sync_webroots",
            hint="set sync_webroots = 1 (SYNC_WEBROOTS)",
        )
    if plan.mode == "whole":
        raise UsageError(
            "the whole webroot is mounted from its bucket: every server sees the same already",
            subject="directories_to_mount",
            hint="set sync_webroots = 0, or mount single directories",
        )


class Syncer:
    """One webroot, through the first store of its site; its log goes to the ``others`` too, which are opened when they are needed.

    ``told`` hears of everything that happens, in sentences. For a dry run nothing is asked that takes a write: neither what the store can
    promise nor what time it has; ``agreed`` is one for a dry run then, too.
    """

    def __init__(
        self,
        repository: Repository,
        plan: Plan,
        agreed: Agreed,
        *,
        others: Mapping[str, Callable[[], Repository]] | None = None,
        told: Callable[[str], None] = lambda _: None,
        dry_run: bool = False,
    ) -> None:
        if not dry_run:
            _refuse_store(repository)
        self.repository = repository
        self.plan = plan
        self.agreed = agreed
        self.logs = Logs(repository, plan.site)
        self.own = OwnLog(self.logs, agreed.node, self._now)
        self._mirrors = [Mirror(self.logs, agreed.node, url, opened) for url, opened in (others or {}).items()]
        self.webroot = Webroot(plan.webroot)
        self.folders: list[str] = []
        self._told = told
        self._owner = _owner(plan.web_user)
        self._offset: tuple[float, float] | None = (0.0, math.inf) if dry_run else None
        self._would: dict[str, Change] = {}
        self._begun = False
        self._joined: tuple[dict[str, tuple[PackRecord, ...]], frozenset[str], dict[str, Change]] | None = None

    # time

    def _now(self) -> int:
        """Microseconds by the store's clock; how far it is from this machine's is asked once an hour."""
        clock = self.repository.clock
        if self._offset is None or clock.since_boot() > self._offset[1] + _HOUR:
            here = clock.now().timestamp()
            self._offset = self.repository.catalog.store_now().timestamp() - here, clock.since_boot()
        return int((clock.now().timestamp() + self._offset[0]) * _MICRO)

    def _by_store(self, changed: Mapping[str, int]) -> dict[str, int]:
        """Times of this machine's clock by the store's."""
        offset = int((self._offset[0] if self._offset is not None else 0.0) * _MICRO)
        return {path: when + offset for path, when in changed.items()}

    # one cycle

    def cycle(self, *, look: bool = True, accept_deletes: bool = False) -> Report:
        """Read the logs; where one changed, or ``look`` is set, look at the disk and do what is to be done.

        Raises:
            UnreachableError, AccessError: as the store. Nothing is half done.
            LocalError: the webroot is not there, or its disk is full.
            ConflictError: another server has this one's name.
        """
        report = Report(self.agreed.node)
        changed = self.logs.refresh()
        self.own.check()
        report.wrong = {node: error.message for node, error in self.logs.wrong.items()}
        if not self._begun:
            self.own.sweep()
        if changed or look or not self._begun:
            self._begun = True
            self._sync(report, accept_deletes=accept_deletes)
        self._keep_house(report, tidy=changed or bool(report.published))
        return report

    def rehearse(self, *, accept_deletes: bool = False) -> Report:
        """What :meth:`cycle` would do, by what the logs and the disk say now; nothing is written. No bytes of others' files are read.

        Raises:
            HoldfastError: as that.
        """
        report = Report(self.agreed.node)
        self.logs.refresh()
        report.wrong = {node: error.message for node, error in self.logs.wrong.items()}
        outcome, _, _ = self._decided(report, accept_deletes=accept_deletes)
        deeds, _ = self._deeds(outcome)
        report.published, report.laid = sorted(outcome.publish), sorted(deeds)
        report.kept = sorted(path for path, deed in deeds.items() if deed.keep)
        self._would = outcome.accept | {path: deed.change for path, deed in deeds.items()}
        _note_deleted(report, outcome)
        return report

    def _sync(self, report: Report, *, accept_deletes: bool) -> None:
        outcome, look, began = self._decided(report, accept_deletes=accept_deletes)
        self._publish(outcome, report)
        reach("sync.agreeing")
        self.agreed.agree(outcome.accept)
        self.agreed.say_next({})
        self._lay(outcome, look, report)
        self.agreed.say(since=began, **({} if look.unsettled else {"joined": 1}))
        _note_deleted(report, outcome)

    def _decided(self, report: Report, *, accept_deletes: bool) -> tuple[Outcome, Look, int]:
        """What is to be done, the look at the disk by which that is so, and when it began."""
        began = self._now()
        scope = scope_of(self.plan, [each.dir for each in mounts()])
        look = self._look(scope)
        report.skipped = {path: why for path, why in look.unknown.items() if path not in look.unsettled}
        report.unsettled = bool(look.unsettled)
        self._recover(look)
        self._trim(scope, began)
        winners = self._winners(scope)
        author = Author(
            self.agreed.node,
            began,
            int(self.agreed.fact("since") or 0),
            joining=not self.agreed.fact("joined"),
            complete=not self.logs.wrong,
            accept_deletes=accept_deletes,
        )
        disk = Disk(look.entries, self._by_store(look.changed), look.is_unknown)
        outcome = decide(self.agreed.base, disk, winners, author)
        report.held = outcome.held
        return outcome, look, began

    def _winners(self, scope: Scope) -> dict[str, Change]:
        """The newest of each path in scope; as long as no log is another one, what it was."""
        heads = {node: log.head.packs for node, log in self.logs.known.items()}
        if self._joined is None or self._joined[:2] != (heads, scope.paths):
            joined = join(self.logs.changes().values())
            self._joined = heads, scope.paths, {path: each for path, each in joined.items() if scope.has(path)}
        winners = self._joined[2]
        same = [
            path
            for path, each in winners.items()
            if (known := self.agreed.base.get(path)) is not each and known == each
        ]
        winners.update({path: self.agreed.base[path] for path in same})  # one object, found equal at a glance
        return winners

    def _look(self, scope: Scope) -> Look:
        look = self.webroot.look(scope, self.agreed.known)
        base = self.agreed.base
        confirm_deletions(self.webroot, look, [path for path, each in base.items() if each.content is not None])
        self.agreed.remember(look.fingerprints, look.entries)
        self.folders = look.folders
        return look

    def _recover(self, look: Look) -> None:
        """What a process said or laid that was killed before it could note it."""
        own = {} if self.own.log is None else self.own.log.changes
        said = {path: each for path, each in self.agreed.saying.items() if path in own and own[path].rank == each.rank}
        self.agreed.agree(_newer(said, self.agreed.base))
        self.agreed.say_next({})
        found, left = {}, {}
        for path, change in self.agreed.pending.items():
            there = look.entries.get(path)
            if look.is_unknown(path):
                left[path] = change
            elif (there and there.identity) == (change.content and change.content.identity):
                found[path] = change
        self.agreed.agree(found)
        self.agreed.intend(left)

    def _trim(self, scope: Scope, now: int) -> None:
        """Forget what is not synced any more, and deletions that are long past."""
        base = self.agreed.base
        over = [path for path, each in base.items() if each.content is None and each.at < now - REMEMBERED]
        self.agreed.forget([*over, *(path for path in base if not scope.has(path))])

    def _publish(self, outcome: Outcome, report: Report) -> None:
        if not outcome.publish:
            return
        self.agreed.say_next({path: each for path, each in outcome.publish.items() if path in outcome.accept})
        recorder = Recorder()
        self.own.write(recorder.drafts(outcome.publish, self._bytes))
        for path in recorder.skipped:  # it changed meanwhile: it is looked at again
            outcome.accept.pop(path, None)
            report.unsettled = True
        report.published = sorted(outcome.publish.keys() - set(recorder.skipped))
        for path in report.published:
            self._told(f"{'deleted' if outcome.publish[path].content is None else 'changed'} here: {path}")

    def _bytes(self, path: str, change: Change) -> Iterator[ReadableBuffer] | None:
        return self.webroot.read(path, change.content.size if change.content else 0, STEP)

    # laying

    def _deeds(self, outcome: Outcome) -> tuple[dict[str, Deed], dict[str, tuple[str, Placed]]]:
        """What is to be laid and can be, in the order of where its bytes lie; and where they do."""
        places = {path: self.logs.place(path, deed.change) for path, deed in outcome.apply.items()}
        known = {path: place for path, place in places.items() if place is not None}
        ordered = sorted(outcome.apply, key=lambda path: _nearness(known.get(path)))
        deeds = {path: outcome.apply[path] for path in ordered if path in known or outcome.apply[path].change.clash}
        return deeds, known

    def _lay(self, outcome: Outcome, look: Look, report: Report) -> None:
        deeds, known = self._deeds(outcome)
        if not deeds:
            return
        self.logs.expect(known[path] for path in deeds if path in known)
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
        laying = Laying(
            self.webroot,
            self.agreed.node.rpartition("-")[2],
            self.agreed.kept / stamp,
            self._owner,
            lambda path, why: self._kept(report, path, why),
        )
        self.agreed.intend(self.agreed.pending | {path: deed.change for path, deed in deeds.items()})
        reach("sync.intended")
        with local_errors(Path(self.plan.webroot)):
            laying.begin()
            try:
                report.laid = laying.lay(deeds, look.fingerprints, lambda path, _: self.logs.bytes_of(*known[path]))
            finally:
                laying.end()
        reach("sync.laid")
        self.agreed.agree({path: deeds[path].change for path in report.laid})
        self.agreed.intend({path: each for path, each in self.agreed.pending.items() if path not in deeds})
        self.logs.release()
        self._tell_laid(deeds, laying, report)

    def _tell_laid(self, deeds: Mapping[str, Deed], laying: Laying, report: Report) -> None:
        for path in report.laid:
            change = deeds[path].change
            self._told(f"{'deleted' if change.content is None else 'changed'} by {change.node}: {path}")
        report.wrong |= {path: error.message for path, error in laying.failed.items()}
        report.unsettled |= len(report.laid) < len(deeds) - len(laying.failed)

    def _kept(self, report: Report, path: str, why: str) -> None:
        report.kept.append(path)
        self._told(f"kept {path}: {why}")

    # the log

    def _keep_house(self, report: Report, *, tidy: bool) -> None:
        """Show that this server lives, and keep its log small."""
        now, log = self._now(), self.own.log
        if log is None or datetime.fromisoformat(log.head.at).timestamp() < now / _MICRO - _HOUR:
            self.own.beat()
            self._let_go()
        if tidy:
            self.own.tidy(now - REMEMBERED)
        for mirror in self._mirrors:
            why = mirror.bring()
            if why is not None:
                report.behind[mirror.url] = why

    def _let_go(self) -> None:
        """Remove the logs of servers that are silent for long, where this one has all that they said."""
        if self.logs.wrong:
            return
        for each in self.status():
            if not each.here and each.silent > SILENT and not each.missing:
                self._told(f"{each.node} said nothing for {each.silent / 86400:.0f} days: its log is removed")
                self.logs.remove(each.node)
        self.logs.sweep(self._now() / _MICRO - _DAY)

    def status(self) -> list[NodeStatus]:
        """Every server that has a log, as it was last read."""
        now, base = self._now() / _MICRO, self.agreed.base
        found = []
        for node, log in sorted(self.logs.known.items()):
            missing = sum(1 for path, each in log.changes.items() if path not in base or base[path].rank < each.rank)
            silent = max(0.0, now - datetime.fromisoformat(log.head.at).timestamp())
            found.append(NodeStatus(node, node == self.agreed.node, silent, len(log.placed), missing))
        return found

    def forget(self, node: str, *, dry_run: bool = False) -> None:
        """Remove the log of a server that is gone for good, once this one has all that it says; a dry run only refuses, by what it would have.

        Raises:
            UsageError: there is no such server, or this one lacks something of it.
        """
        self.logs.refresh()
        log = self.logs.known.get(node)
        if log is None or node == self.agreed.node:
            others = ", ".join(sorted(self.logs.known.keys() - {self.agreed.node})) or "none"
            raise UsageError(f"no other server is called {node}", subject=node, hint=f"there are: {others}")
        base = self.agreed.base | self._would
        missing = [
            path
            for path, change in join([*self.logs.changes().values()]).items()
            if path in log.placed and (path not in base or base[path].rank < change.rank)
        ]
        if missing:
            raise UsageError(f"{missing[0]} of {node} is not here yet", subject=missing[0], hint="sync first")
        if not dry_run:
            self.logs.remove(node)


def _refuse_store(repository: Repository) -> None:
    """Raise UnsupportedError where a store has no conditional writes."""
    promises = repository.store.promises()
    if not (promises.create and promises.replace):
        why = promises.reason or "it has no conditional writes"
        raise UnsupportedError(
            f"webroots cannot be synced through {repository.store.url}: {why}", subject=repository.store.url
        )


def _note_deleted(report: Report, outcome: Outcome) -> None:
    """Of what was published and laid, note what was deleted."""
    gone = {path for path, each in outcome.publish.items() if each.content is None}
    here = {path for path, each in outcome.apply.items() if each.change.content is None}
    report.deleted = sorted({*gone.intersection(report.published), *here.intersection(report.laid)})


def _nearness(place: tuple[str, Placed] | None) -> tuple[str, str, int]:
    """Sorts what lies side by side in a store together."""
    if place is None:
        return "", "", 0
    node, placed = place
    pieces = placed.record.pieces
    return (node, pieces[0].pack, pieces[0].offset) if pieces else (node, "", 0)


def _newer(changes: Mapping[str, Change], base: Mapping[str, Change]) -> dict[str, Change]:
    """Those that are newer than what was agreed."""
    return {path: each for path, each in changes.items() if path not in base or base[path].rank < each.rank}


def _owner(web_user: str) -> Owner | None:
    """Whom what is laid belongs to; None where this process may not give files away.

    Raises:
        UsageError: this machine has no such user.
    """
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(web_user)
    except KeyError:
        raise UsageError(
            f"this machine has no user {web_user!r}", subject="web_user", hint="set web_user to the web server's"
        ) from None
    return found.pw_uid, found.pw_gid
