"""Repair: what it may free and list, and what it never touches. Each case was found by an audit or a crash."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.catalog.bucket import BucketCatalog
from holdfast.clock import SystemClock
from holdfast.config import load
from holdfast.errors import ConflictError, InvalidVersionError, NotFoundError, UsageError, VersionNotFoundError
from holdfast.formats import layout as keys
from holdfast.maintain import repair, verify
from holdfast.wiring import open_on
from tests.fakes import Call, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository import Repository


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Folders for a store, a cache and a source that holds a file which is named like a list."""
    for name in ("store", "assets", "source"):
        (tmp_path / name).mkdir()
    (tmp_path / "source/labels.versions").write_text("mine")
    (tmp_path / "source/a.txt").write_text("a")
    return tmp_path


@pytest.fixture
def repository(place: Path) -> Repository:
    """A repository over them."""
    return holdfast.open((place / "store").as_uri(), assets_dir=place / "assets")


def _dead_push(repository: Repository, place: Path, version: str, *, limit: int = 1) -> BucketCatalog:
    """A claim and data of a push that began long ago and never ended."""
    catalog = BucketCatalog(repository.store, SystemClock(), "eve@elsewhere")
    catalog.store_record(create=True)
    push = catalog.open_push("n/a", "f" * 32, datetime.now(UTC) - timedelta(days=9))
    push.limit = limit
    catalog.claim(push, version)
    for name in ("a.txt", "labels.versions"):
        repository.store.put(f"n/a/{version}/{name}", (place / "source" / name).read_bytes())
    return catalog


def _expire(place: Path) -> None:
    """Let the push's record be old by the store's clock."""
    for path in (place / "store/.holdfast/pushes").iterdir():
        path.write_text(json.dumps(json.loads(path.read_text()) | {"limit": 1}))
        import os

        os.utime(path, (1, 1))


def test_repair__never_writes_to_data_of_a_push_under_way(repository: Repository, place: Path) -> None:
    """A file of an unfinished version that is named like a list is no list: repair leaves it, and no listing shows it."""
    _dead_push(repository, place, "0.0")
    assert list(repository.catalog.names()) == []
    assert [finding.state for finding in repair(repository)] == ["conflict"]
    assert (place / "store/n/a/0.0/labels.versions").read_text() == "mine"


def test_repair__frees_the_number_of_an_expired_push(repository: Repository, place: Path) -> None:
    """An expired push's leftovers and claim go, and the number can be pushed by somebody else."""
    _dead_push(repository, place, "3.0")
    with pytest.raises(ConflictError):
        repository.push(place / "source", "n/a", version="3.0")
    _expire(place)
    repository.catalog.configure("push_limit", "1")
    assert [finding.state for finding in repair(repository, "n/a")] == ["repaired"]
    assert repository.push(place / "source", "n/a", version="3.0").created
    assert all(finding.ok for finding in verify(repository, deep=True))


def test_repair__a_lowered_limit_kills_no_live_push(repository: Repository, place: Path) -> None:
    """A push keeps the limit that it began with: lowering the store's does not make it expire under its feet."""
    _dead_push(repository, place, "0.0")
    repository.catalog.configure("push_limit", "1")
    import os
    import time

    for path in (place / "store/.holdfast/pushes").iterdir():
        os.utime(path, (time.time() - 3600,) * 2)
    assert [finding.state for finding in repair(repository, "n/a")] == ["conflict"]
    assert (place / "store/n/a/0.0/a.txt").exists()


def test_repair__a_claim_with_a_bad_date_stops_nobody(repository: Repository, place: Path) -> None:
    """A claim whose date is none is reported as damaged, and the other assets are repaired."""
    _dead_push(repository, place, "0.0")
    claim = place / "store/.holdfast/claims/n%2Fa/0.0"
    claim.write_text(json.dumps(json.loads(claim.read_text()) | {"at": "garbage"}))
    for path in (place / "store/.holdfast/pushes").iterdir():
        path.unlink()
    repository.push(place / "source", "n/b")
    assert [(finding.subject, finding.state) for finding in repair(repository)] == [("n/a", "integrity")]


def test_repair__reports_a_meta_that_cannot_be_read(repository: Repository, place: Path) -> None:
    """An unreadable newest meta is reported by repair, and the next push is not refused because of it."""
    repository.push(place / "source", "n/a")
    (place / "store/n/a/0.0.meta").write_text("junk")
    assert [finding.state for finding in repair(repository, "n/a")] == ["integrity"]
    assert repository.push(place / "source", "n/a").version == "0.1"
    assert [summary.problem for summary in repository.list()] == [None]


def test_repair__of_nothing(repository: Repository) -> None:
    """Repairing an asset that does not exist says so."""
    assert [finding.state for finding in repair(repository, "no/such")] == ["not_found"]


def test_repair__sweeps_the_workshop(repository: Repository, place: Path) -> None:
    """Temporary files of killed writers, older than any push may be, are removed; young ones stay."""
    import os

    repository.push(place / "source", "n/a")
    old, young = place / "store/.holdfast/tmp/old", place / "store/.holdfast/tmp/young"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (1, 1))
    assert [finding.state for finding in repair(repository)] == ["repaired"]
    assert (old.exists(), young.exists()) == (False, True)


def test_alias__to_a_removed_version(repository: Repository, place: Path) -> None:
    """An alias cannot be set on a version that was removed meanwhile."""
    repository.push(place / "source", "n/a")
    repository.remove("n/a:0.0")
    with pytest.raises(ConflictError, match="is removed"):
        repository.catalog.set_aliases("n/a", {"stable": "0.0"})


def test_push__provenance_is_checked(repository: Repository, place: Path) -> None:
    """A parent that the asset never had, a malformed input, and a major that is none are refused before anything is written."""
    repository.push(place / "source", "n/a")
    (place / "source/a.txt").write_text("b")
    with pytest.raises(VersionNotFoundError, match=r"77\.7"):
        repository.push(place / "source", "n/a", parent="77.7")
    with pytest.raises(UsageError):
        repository.push(place / "source", "n/a", inputs=["bad:::"])
    with pytest.raises(InvalidVersionError, match="no major"):
        repository.push(place / "source", "n/a", major="x")
    assert repository.versions("n/a").versions == ("0.0",)
    with pytest.raises(NotFoundError):
        repository.versions("n/b")


def test_repair__a_push_that_wakes_up_meanwhile(repository: Repository, place: Path) -> None:
    """A version that becomes whole while its number is being freed keeps its data and its claim."""
    catalog = _dead_push(repository, place, "3.0")
    _expire(place)
    repository.catalog.configure("push_limit", "1")
    source = repository.push(place / "source", "n/b", layout="tree")
    woken = repository.catalog.published("n/b", source.version).data
    store = FaultyStore(repository.store)

    def wake(call: Call) -> None:
        if call.verb == "put" and call.key == keys.claim_key("n/a", "3.0"):
            store.store.put("n/a/3.0.meta", woken)

    store.plan = wake
    late = open_on(store, load({"store": repository.store.url, "assets_dir": place / "assets"}))
    assert [finding.state for finding in repair(late, "n/a")] == ["ok"]
    assert (place / "store/n/a/3.0/a.txt").read_text() == "a"
    claim = catalog.claim_of("n/a", "3.0")
    assert claim is not None
    assert claim.push == "f" * 32
