"""The repository as it is opened: with what looks after its store and what carries versions elsewhere beside the client API.

Thin: each method calls what its command calls, loaded when it is first called, and returns values instead of text. Walks that the
commands tell line by line are done when a method returns.

Example::

    repository = holdfast.open("s3://bucket/prefix")
    repository.copy("nlp/bert:1.4", to=holdfast.open("file:///backup"))
    wrong = [finding for finding in repository.verify(deep=True) if not finding.ok]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import repository
from holdfast.errors import UsageError
from holdfast.model.spec import AssetSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.collect import Collected, Explained
    from holdfast.model.result import Copied, Exported, Finding

__all__ = ["Repository"]


class Repository(repository.Repository):
    """Assets in one store. Made by :func:`holdfast.open`; one transfer at a time, any number of repositories."""

    def verify(self, spec: AssetSpec | str | None = None, *, deep: bool = False) -> list[Finding]:
        """Check that versions are whole: one finding each, a bad one too.

        Args:
            spec: a version, or a name for all its versions; None for every asset.
            deep: read every byte and compare it with its digest; else only look whether every object is there with its length.

        Raises:
            UsageError: a sub-path is named.
        """
        from holdfast.verify import verify

        return list(verify(self, None if spec is None else str(spec), deep=deep))

    def repair(self, name: str | None = None, *, dry_run: bool = False) -> list[Finding]:
        """Put right what killed pushes and other programs left; see :func:`holdfast.maintain.repair`. No version is ever deleted.

        Args:
            name: one asset; None for all.
            dry_run: change nothing, and tell what would be done.
        """
        from holdfast.maintain import repair

        return list(repair(self, name, dry_run=dry_run))

    def collect(self, *, dry_run: bool = False) -> Collected:
        """Delete what no version needs any more and whose time has come, and condemn what is garbage now.

        Raises:
            IntegrityError: something cannot be read; nothing was deleted.
        """
        from holdfast.collect import Collector

        return Collector(self).run(dry_run=dry_run)

    def explain(self, name: str) -> Explained:
        """Why a pack or pages object is there, or what became of it; ``name`` is its hash, or enough of the first digits.

        Raises:
            NotFoundError: none of that name is there, nor was condemned.
            UsageError: no name, or several objects begin like this.
        """
        from holdfast.collect import Collector

        return Collector(self).explain(name)

    def copy(
        self,
        spec: AssetSpec | str,
        *,
        to: repository.Repository,
        layout: str | None = None,
        aliases: bool = False,
        dry_run: bool = False,
    ) -> Copied:
        """Bring a version to another store, every byte verified on the way; it keeps its number, hash, date and all that is said of it.

        Args:
            spec: the version; without one, the newest.
            to: the repository of that store, as :func:`holdfast.open` makes it.
            layout: the layout that it gets there; else the one that it has.
            aliases: let the aliases that name it here name it there, too.
            dry_run: say what would be done.

        Raises:
            NotFoundError: no such version, or no such store.
            ConflictError: that store has this number with other content, had it and removed it, or another push has claimed it.
            IntegrityError: bytes here are not what was pushed; nothing was published.
            UsageError: a layout that does not fit, or a sub-path.
        """
        from holdfast.replicate import copy

        if not isinstance(to, repository.Repository):
            raise UsageError(f"to= takes a repository, not {to!r}", subject="to", hint="to=holdfast.open(URL)")
        return copy(self, to, spec, layout=layout, aliases=aliases, dry_run=dry_run)

    def export(
        self,
        specs: AssetSpec | str | Sequence[AssetSpec | str],
        file: Path | str,
        *,
        have: AssetSpec | str | Sequence[AssetSpec | str] = (),
        base: Path | str | Sequence[Path | str] = (),
        force: bool = False,
        dry_run: bool = False,
    ) -> Exported:
        """Write versions, one or several, into one file, which :meth:`import_` reads where no network leads.

        Args:
            specs: the versions; of a name without a version, the newest.
            file: it has its name only once it is whole.
            have: versions that the other side has: what they share with these is left out.
            base: bundles that the other side has imported, likewise.
            force: replace a file that exists.
            dry_run: say what would be in it, and how long it would be.

        Raises:
            NotFoundError: no such version.
            AlreadyExistsError: the file exists.
            IntegrityError: bytes in the store are not what was pushed; no file was made.
            LocalError: it cannot be written.
        """
        from holdfast.replicate import export

        bundles = [Path(each) for each in ((base,) if isinstance(base, Path | str) else base)]
        return export(
            self, _several(specs), Path(file), have=_several(have), base=bundles, force=force, dry_run=dry_run
        )

    def import_(
        self, file: Path | str, *, layout: str | None = None, aliases: bool = False, dry_run: bool = False
    ) -> list[Copied]:
        """Bring the versions of an exported file into the store; all of the file is checked before anything is written.

        Args:
            file: the bundle.
            layout: the layout that they get; else the one that they have.
            aliases: set the aliases that named them when they were exported.
            dry_run: check the bundle, and say what would be done.

        Raises:
            IntegrityError: the bundle was truncated or changed, or holds what cannot be; nothing was written.
            NotFoundError: it builds upon versions that the store has not; they are named.
            ConflictError: as :meth:`copy`; the versions before that one are there.
        """
        from holdfast.replicate import import_

        return list(import_(self, Path(file), layout=layout, aliases=aliases, dry_run=dry_run))


def _several(specs: AssetSpec | str | Sequence[AssetSpec | str]) -> Sequence[AssetSpec | str]:
    return [specs] if isinstance(specs, AssetSpec | str) else specs
