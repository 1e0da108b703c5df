"""The sentences of SEMANTICS.md: each is the docstring of a test, here or elsewhere in the suite."""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import holdfast
from holdfast import publish
from holdfast.catalog.bucket import BucketCatalog
from holdfast.clock import SystemClock
from holdfast.config import load
from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    ConflictError,
    IntegrityError,
    LocalError,
    NotFoundError,
    SourceChangedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
    VersionNotFoundError,
)
from holdfast.maintain import repair
from holdfast.model.manifest import Entry, Manifest
from holdfast.store.base import Promises
from holdfast.store.memory import MemoryStore
from holdfast.wiring import open_on
from tests.fakes import Fault, FaultyStore, Script

if TYPE_CHECKING:
    from holdfast.repository import Repository

ROOT = Path(__file__).parents[2]


class Shop:
    """A store on disk, an assets folder and a source directory, with a repository over them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = place / "store"
        self.assets = place / "assets"
        self.source = place / "source"
        for folder in (self.store, self.assets, self.source):
            folder.mkdir()
        (self.source / "a.txt").write_text("a")
        (self.source / "sub").mkdir()
        (self.source / "sub/b.txt").write_text("bb")
        self.repository = self.open()

    def open(self, store: Any = None) -> Repository:
        """A repository over the folder, or over another store."""
        if store is None:
            return holdfast.open(self.store.as_uri(), assets_dir=self.assets)
        return open_on(store, load({"assets_dir": self.assets}))

    def change(self, text: str = "changed") -> None:
        """Give the source other content."""
        (self.source / "a.txt").write_text(text)

    def listed(self, name: str = "n/a") -> list[str]:
        """The list as it lies in the store."""
        found: list[str] = json.loads((self.store / f"{name}.versions").read_text())["versions"]
        return found

    def overwrite_list(self, versions: list[str], name: str = "n/a") -> None:
        """Write the list as modelkit does: away with the old, a new file in its place."""
        path = self.store / f"{name}.versions"
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"versions": versions}))

    def foreign(self, version: str, text: str = "foreign", name: str = "n/a") -> None:
        """A file version as modelkit writes it, without its listing."""
        (self.store / name).mkdir(parents=True, exist_ok=True)
        (self.store / name / version).write_text(text)
        meta = {"push_date": "2024-01-01T00:00:00+00:00", "is_directory": False}
        (self.store / name / f"{version}.meta").write_text(json.dumps(meta))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A fresh one."""
    return Shop(tmp_path)


# Versions


def test_version__never_changes(shop: Shop) -> None:
    """A version never changes, and its number is never used again, not even after it was removed."""
    shop.repository.push(shop.source, "n/a", version="1.0")
    shop.change()
    with pytest.raises(AlreadyExistsError):
        shop.repository.push(shop.source, "n/a", version="1.0")
    shop.repository.remove("n/a:1.0")
    with pytest.raises(AlreadyExistsError, match="never used again"):
        shop.repository.push(shop.source, "n/a", version="1.0")
    assert shop.repository.push(shop.source, "n/a").version != "1.0"


def test_meta__comes_after_the_data(shop: Shop) -> None:
    """A meta exists only once every byte of its version is in the store."""
    written: list[str] = []

    class Watching(MemoryStore):
        def put(self, key: str, *rest: Any) -> Any:
            written.append(key)
            return super().put(key, *rest)

    shop.open(Watching("order")).push(shop.source, "n/a", layout="tree")
    meta = written.index("n/a/0.0.meta")
    assert {"n/a/0.0/a.txt", "n/a/0.0/sub/b.txt", ".holdfast/claims/n%2Fa/0.0"} <= set(written[:meta])
    assert written.index("n/a.versions") > meta


def test_unlisted__fetched_and_listed_by_the_next_push(shop: Shop) -> None:
    """A version that is whole but listed nowhere can be fetched by its number, and the next push lists it."""
    shop.repository.push(shop.source, "n/a")
    shop.change()
    shop.repository.push(shop.source, "n/a")
    shop.overwrite_list(["0.0"])
    shutil.rmtree(shop.store / ".holdfast/gen")
    assert (shop.repository.fetch("n/a:0.1") / "a.txt").read_text() == "changed"
    shop.change("third")
    assert shop.repository.push(shop.source, "n/a").version == "0.2"
    assert shop.listed() == ["0.2", "0.1", "0.0"]


def test_major__is_a_number(shop: Shop) -> None:
    """Major `1` stands for the newest `1.*` and never for `10.*`."""
    for version in ("1.9", "1.10", "10.3"):
        shop.change(version)
        shop.repository.push(shop.source, "n/a", version=version)
    assert shop.repository.fetch_info("n/a:1").version == "1.10"
    shop.change("more")
    assert shop.repository.push(shop.source, "n/a", major="1").version == "1.11"


def test_hash__of_content_alone(shop: Shop) -> None:
    """Equal content has an equal hash, whatever the layout, the times and the owner."""
    tree = shop.repository.push(shop.source, "n/tree", layout="tree")
    os.utime(shop.source / "a.txt", (1, 1))
    (shop.source / "a.txt").chmod(0o600)
    archive = shop.repository.push(shop.source, "n/archive", layout="tar.gz")
    assert tree.hash == archive.hash


def test_file__its_name_is_no_content(shop: Shop) -> None:
    """A file and a directory of the same bytes are different assets, and renaming a file makes no new version."""
    single = shop.repository.push(shop.source / "a.txt", "n/a")
    (shop.source / "a.txt").rename(shop.source / "renamed.txt")
    assert not shop.repository.push(shop.source / "renamed.txt", "n/a").created
    (shop.source / "sub/b.txt").unlink()
    assert shop.repository.push(shop.source, "n/b").hash != single.hash


# Pushing


def test_unchanged__sets_the_alias(shop: Shop) -> None:
    """Pushing content that the newest version has already makes no new version, but sets the alias."""
    shop.repository.push(shop.source, "n/a")
    again = shop.repository.push(shop.source, "n/a", alias="stable")
    assert (again.created, again.version) == (False, "0.0")
    assert shop.repository.versions("n/a").aliases == {"stable": "0.0"}


def test_unchanged__not_where_a_version_is_asked_for(shop: Shop) -> None:
    """A push with an explicit version, a new major or `--new` is never judged unchanged."""
    shop.repository.push(shop.source, "n/a")
    assert shop.repository.push(shop.source, "n/a", version="0.7").created
    assert shop.repository.push(shop.source, "n/a", new_major=True).version == "1.0"
    with pytest.raises(AlreadyExistsError):
        shop.repository.push(shop.source, "n/a", only="new")


def test_push__of_a_file_that_changes(shop: Shop) -> None:
    """A file that changes while it is pushed stops the push, is named, and no version is published."""

    class Changing(MemoryStore):
        def put(self, key: str, *rest: Any) -> Any:
            if "/claims/" in key:
                (shop.source / "sub/b.txt").write_text("other")
            return super().put(key, *rest)

    repository = shop.open(Changing("changing"))
    with pytest.raises(SourceChangedError, match=r"b\.txt"):
        repository.push(shop.source, "n/a")
    with pytest.raises(NotFoundError):
        repository.versions("n/a")


@pytest.mark.parametrize("layout", ["tree", "tar.gz", "packs"])
def test_directory__comes_back_as_it_was(shop: Shop, layout: str) -> None:
    """Hidden files, empty directories, permission bits, times and symlinks inside the directory come back as they were."""
    (shop.source / ".hidden").write_text("h")
    (shop.source / "empty").mkdir(mode=0o750)
    (shop.source / "run").write_text("#!")
    (shop.source / "run").chmod(0o755)
    (shop.source / "link").symlink_to("sub/b.txt")
    (shop.source / "sub/up").symlink_to("../a.txt")
    os.utime(shop.source / "a.txt", (1_000_000_000, 1_000_000_000))
    shop.repository.push(shop.source, "n/a", layout=layout)
    copy = shop.repository.fetch("n/a")
    assert (copy / ".hidden").read_text() == "h"
    assert stat.S_IMODE((copy / "empty").stat().st_mode) == 0o750
    assert stat.S_IMODE((copy / "run").stat().st_mode) == 0o755
    assert (copy / "link").readlink() == Path("sub/b.txt")
    assert (copy / "sub/up").readlink() == Path("../a.txt")
    assert (copy / "a.txt").stat().st_mtime == 1_000_000_000
    assert not shop.repository.status(copy)


def test_symlink__that_leads_outside(shop: Shop) -> None:
    """A symlink that leads outside is refused by name, and stored as what it points to only if asked."""
    (shop.place / "outside").write_text("o")
    (shop.source / "link").symlink_to("../outside")
    with pytest.raises(UsageError, match="'link' leads outside"):
        shop.repository.push(shop.source, "n/a")
    shop.repository.push(shop.source, "n/a", follow_links=True)
    assert (shop.repository.fetch("n/a") / "link").read_text() == "o"


def test_symlink__loop(shop: Shop) -> None:
    """A link loop is an error, and not a thousand copies."""
    (shop.source / "loop").symlink_to(".")
    with pytest.raises(UsageError, match="link loop: 'loop'"):
        shop.repository.push(shop.source, "n/a", follow_links=True)


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_special_file__refused(shop: Shop, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices, fifos and sockets are refused by name."""
    if kind == "fifo":
        os.mkfifo(shop.source / "special")
    else:
        monkeypatch.chdir(shop.source)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("special")
    with pytest.raises(UsageError, match="'special'"):
        shop.repository.push(shop.source, "n/a")
    with pytest.raises(UsageError, match="special' is a device, fifo or socket"):
        shop.repository.push(shop.source / "special", "n/b")


def _claim(shop: Shop, version: str) -> None:
    catalog = BucketCatalog(shop.repository.store, SystemClock(), "eve@elsewhere")
    push = catalog.open_push("n/a", "f" * 32, SystemClock().now())
    catalog.claim(push, version)


def test_claim__of_another(shop: Shop) -> None:
    """A number that another push has claimed and not finished is refused with who, since when, and the command that frees it."""
    _claim(shop, "1.0")
    with pytest.raises(ConflictError, match=r"claimed by eve@elsewhere since 20\d\d-") as caught:
        shop.repository.push(shop.source, "n/a", version="1.0")
    assert "asset repair n/a" in (caught.value.hint or "")
    assert caught.value.exit_code == 4


def test_claim__stepped_over(shop: Shop) -> None:
    """Automatic numbers step over claimed ones, so gaps are normal."""
    _claim(shop, "0.0")
    assert shop.repository.push(shop.source, "n/a").version == "0.1"


def test_push__goes_on_after_a_kill(shop: Shop) -> None:
    """A push that was killed goes on under its own number when it is run again."""
    store = FaultyStore(shop.repository.store, Script().add(Fault.BEFORE, "put", "n/a/0.0.meta", times=99))
    with pytest.raises(UnreachableError):
        shop.open(store).push(shop.source, "n/a")
    assert shop.repository.catalog.claim_of("n/a", "0.0") is not None
    assert shop.repository.push(shop.source, "n/a").version == "0.0"


def test_push__of_much_goes_on_after_a_kill(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 MiB on, in layouts `file` and `tree`, it does so if its files were not touched meanwhile: they are read once, while they are sent."""
    assert publish.READ_ONCE == 64 * 1024 * 1024
    monkeypatch.setattr(publish, "READ_ONCE", 1)
    store = FaultyStore(shop.repository.store, Script().add(Fault.BEFORE, "put", "n/a/0.*.meta", times=99))
    with pytest.raises(UnreachableError):
        shop.open(store).push(shop.source, "n/a", layout="tree")
    assert shop.repository.push(shop.source, "n/a", layout="tree").version == "0.0"
    shop.change("two")
    with pytest.raises(UnreachableError):
        shop.open(store).push(shop.source, "n/a", layout="tree")
    time.sleep(0.01)
    shop.change("two")
    assert shop.repository.push(shop.source, "n/a", layout="tree").version == "0.2"


def test_push__never_deletes(shop: Shop) -> None:
    """Pushing needs no right to delete."""

    class Careful(MemoryStore):
        def delete(self, key: str) -> None:
            raise AccessError(f"not allowed to delete {key}")

    repository = shop.open(Careful("careful"))
    for text in ("one", "two"):
        shop.change(text)
        repository.push(shop.source, "n/a", alias="newest")
    assert repository.versions("n/a").versions == ("0.1", "0.0")


def test_push__to_a_store_without_conditions(shop: Shop) -> None:
    """A store that cannot write on condition is refused for pushing, with the reason and the way out, and can be fetched from."""
    store = MemoryStore("weak")
    shop.open(store).push(shop.source, "n/a")

    class Weak(MemoryStore):
        get, list, list_level, get_range = store.get, store.list, store.list_level, store.get_range  # type: ignore[assignment]

        def promises(self) -> Promises:
            return Promises(create=False, replace=False, reason="If-None-Match is ignored")

    repository = shop.open(Weak("weak"))
    shop.change()
    with pytest.raises(UnsupportedError, match="If-None-Match is ignored") as caught:
        repository.push(shop.source, "n/a")
    assert "server" in (caught.value.hint or "")
    assert repository.fetch("n/a").is_dir()


def test_push__two_at_once(shop: Shop) -> None:
    """Two pushes at one moment get two versions, and both are listed."""
    sources = []
    for number in range(2):
        shutil.copytree(shop.source, shop.place / f"source{number}")
        (shop.place / f"source{number}/a.txt").write_text(str(number))
        sources.append(shop.place / f"source{number}")
    threads = [threading.Thread(target=shop.open().push, args=(source, "n/a")) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shop.listed()) == 2
    texts = {(shop.repository.fetch(f"n/a:{version}") / "a.txt").read_text() for version in shop.listed()}
    assert texts == {"0", "1"}


# Fetching


def _damage(shop: Shop, key: str = "n/a/0.0/sub/b.txt") -> None:
    path = shop.store / key
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def test_fetch__name_comes_last(shop: Shop) -> None:
    """A fetched version has its name only once every byte of it was checked."""
    shop.repository.push(shop.source, "n/a", layout="tree")
    _damage(shop)
    with pytest.raises(IntegrityError, match="does not match its digest"):
        shop.repository.fetch("n/a")
    assert not (shop.assets / "n/a/0.0").exists()


def test_fetch__pinned_and_cached(shop: Shop) -> None:
    """A pinned version that is in the cache is found without any request."""
    shop.repository.push(shop.source, "n/a")
    path = shop.repository.fetch("n/a")
    shop.store.rename(shop.place / "away")
    info = shop.repository.fetch_info("n/a:0.0")
    assert (info.from_cache, Path(info.path)) == (True, path)
    assert info.meta["is_directory"] is True


def test_fetch__pinned_gets_only(shop: Shop) -> None:
    """A pinned fetch needs the right to get objects and no other."""
    store = MemoryStore("poor")
    shop.open(store).push(shop.source, "n/a")

    class Poor(MemoryStore):
        get_range = store.get_range

        def get(self, key: str) -> Any:
            if key.startswith(".holdfast/"):  # no right to list: what is missing is refused
                raise AccessError(f"{key}: refused, or missing")
            return store.get(key)

        def refuse(self, *_: Any) -> Any:
            raise AccessError("not allowed")

        head = list = list_level = put = put_file = delete = copy = refuse

    assert (shop.open(Poor("poor")).fetch("n/a:0.0") / "a.txt").read_text() == "a"


def test_fetch__damaged_object(shop: Shop) -> None:
    """A damaged object is an integrity error, and the good old copy stays."""
    shop.repository.push(shop.source, "n/a", layout="tree")
    path = shop.repository.fetch("n/a")
    _damage(shop)
    with pytest.raises(IntegrityError):
        shop.repository.fetch("n/a", force=True)
    assert (path / "sub/b.txt").read_text() == "bb"
    assert shop.repository.fetch_info("n/a:0.0").from_cache


def test_force__keeps_the_old_copy(shop: Shop) -> None:
    """`--force` keeps the old copy until the new one is whole."""
    shop.repository.push(shop.source, "n/a")
    path = shop.repository.fetch("n/a")
    (path / "a.txt").write_text("edited")
    seen: list[bool] = []

    class Looking(FaultyStore):
        def get(self, key: str) -> Any:
            seen.append((path / "a.txt").read_text() == "edited")
            return super().get(key)

    shop.open(Looking(shop.repository.store, Script())).fetch("n/a:0.0", force=True)
    assert seen
    assert all(seen)
    assert (path / "a.txt").read_text() == "a"


def test_fetch__goes_on_after_a_kill(shop: Shop) -> None:
    """A fetch that was killed goes on where it was, and checks again what it finds there."""
    shop.repository.push(shop.source, "n/a", layout="tree")
    meta = (shop.store / "n/a/0.0.meta").read_bytes()
    from holdfast.cache.owners import machine
    from holdfast.model.digest import digest_of

    left = shop.assets / f"n/a/.0.0.{digest_of(meta)[:12]}.{machine()}-999999999-1-dead.part/copy"
    (left / "sub").mkdir(parents=True)
    (left / "a.txt").write_text("a")
    (left / "sub/b.txt").write_text("b!")
    info = shop.repository.fetch_info("n/a:0.0")
    assert info.downloaded_bytes == 2
    assert (Path(info.path) / "sub/b.txt").read_text() == "bb"
    assert [entry for entry in os.listdir(shop.assets / "n/a") if entry.endswith(".part")] == []


def test_copy__without_a_marker(shop: Shop) -> None:
    """A copy that has no marker is never deleted; where it is in the way it is moved aside."""
    shop.repository.push(shop.source, "n/a")
    mine = shop.assets / "n/a/0.0"
    mine.mkdir(parents=True)
    (mine / "work.txt").write_text("my work")
    assert (shop.repository.fetch("n/a:0.0") / "a.txt").read_text() == "a"
    assert (shop.assets / ".holdfast/aside/n/a/0.0.1/work.txt").read_text() == "my work"


def test_local_version__never_pushed(shop: Shop) -> None:
    """A local version that was never pushed stays where it is."""
    shop.repository.push(shop.source, "n/a")
    mine = shop.assets / "n/a/9.9"
    mine.mkdir(parents=True)
    (mine / "work.txt").write_text("my work")
    assert shop.repository.fetch_info("n/a").version == "0.0"
    with pytest.raises(VersionNotFoundError):
        shop.repository.fetch("n/a:9.9")
    assert (mine / "work.txt").read_text() == "my work"


def test_offline__complete_copies_only(shop: Shop) -> None:
    """`--offline` asks no store and finds complete copies only."""
    shop.repository.push(shop.source, "n/a")
    shop.repository.fetch("n/a")
    (shop.assets / "n/a/0.5").mkdir()
    shutil.rmtree(shop.store)
    assert shop.repository.fetch_info("n/a", offline=True).version == "0.0"
    with pytest.raises(VersionNotFoundError, match="is not in"):
        shop.repository.fetch("n/a:0.5", offline=True)


def test_sub_path__downloads_what_it_names(shop: Shop) -> None:
    """A sub-path of a tree downloads only what it names."""
    shop.repository.push(shop.source, "n/a", layout="tree")
    info = shop.repository.fetch_info("n/a:0[sub]")
    assert info.downloaded_bytes == 2
    assert os.listdir(info.path) == ["b.txt"]


def test_read_only_cache__serves_what_it_has(shop: Shop) -> None:
    """A read-only cache serves what it has."""
    shop.repository.push(shop.source, "n/a")
    path = shop.repository.fetch("n/a")
    other = shop.repository.push(shop.source, "n/b")
    # root may write anywhere, so the folder is made to refuse by being no folder for what is new
    (shop.assets / ".holdfast/locks").rename(shop.assets / ".holdfast/was")
    (shop.assets / ".holdfast/locks").write_text("")
    assert shop.repository.fetch("n/a:0.0") == path
    with pytest.raises(LocalError):
        shop.repository.fetch(other.spec)


def test_fetch_to__spares_what_is_yours(shop: Shop) -> None:
    """`fetch --to` writes into an empty folder or beside nothing of yours; `--force` replaces only what the version brings back."""
    shop.repository.push(shop.source, "n/a")
    target = shop.place / "target"
    shop.repository.fetch("n/a", to=target)
    with pytest.raises(AlreadyExistsError):
        shop.repository.fetch("n/a", to=target)
    (target / "a.txt").write_text("edited")
    shop.repository.fetch("n/a", to=target, force=True)
    assert (target / "a.txt").read_text() == "a"
    (target / "mine.txt").write_text("mine")
    with pytest.raises(AlreadyExistsError, match=r"mine\.txt"):
        shop.repository.fetch("n/a", to=target, force=True)
    assert (target / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("path", ["../evil", "/evil", "a/../../evil", "a//b", "."])
def test_hostile_manifest__writes_nothing(shop: Shop, path: str) -> None:
    """Nothing outside the target is ever written, whatever a hostile manifest says."""
    shop.foreign("1.0")
    meta = {"push_date": "2024-01-01T00:00:00+00:00", "is_directory": True, "contents": [path]}
    (shop.store / "n/a/1.0.meta").write_text(json.dumps(meta))
    before = sorted(shop.place.rglob("evil"))
    with pytest.raises(IntegrityError, match="unsafe path"):
        shop.repository.fetch("n/a:1.0")
    assert sorted(shop.place.rglob("evil")) == before
    with pytest.raises(IntegrityError, match="leads outside"):
        Manifest.of([Entry("l", "link", target="d/../../x")])


def test_modes__through_the_umask(shop: Shop) -> None:
    """Permission bits go through the umask, and setuid, setgid and sticky bits are never restored."""
    (shop.source / "a.txt").chmod(0o6777)
    shop.repository.push(shop.source, "n/a")
    old = os.umask(0o027)
    try:
        copy = shop.repository.fetch("n/a")
    finally:
        os.umask(old)
    assert stat.S_IMODE((copy / "a.txt").stat().st_mode) == 0o750


def test_overlap__refused(shop: Shop) -> None:
    """The store and `assets_dir` may not overlap."""
    (shop.place / "alias").symlink_to(shop.store)
    for assets in (shop.store, shop.store / "inside", shop.place, shop.place / "alias"):
        with pytest.raises(UsageError, match="overlap"):
            holdfast.open(f"{shop.store.as_uri()}/", assets_dir=assets)


# Names and lists


@pytest.mark.parametrize(
    "name", ["a/1.0", "a/1.0/b", "a.versions", "a/b.meta", "x.json", "a/.b", "../a", "a//b", "a\x07"]
)
def test_name__that_would_collide(shop: Shop, name: str) -> None:
    """A name that would collide with a version, or with a key of the convention, is refused when it is new."""
    with pytest.raises(UsageError):
        shop.repository.push(shop.source, name)
    assert os.listdir(shop.store) == []


def test_list__that_cannot_be_read(shop: Shop) -> None:
    """A list that is no JSON, or an entry that no scheme knows, is reported, and the rest of the store works."""
    shop.repository.push(shop.source, "n/good")
    shop.overwrite_list([], "n/bad")
    (shop.store / "n/bad.versions").write_text("{not json")
    shop.foreign("1.0", name="n/odd")
    shop.overwrite_list(["1.0", "latest!"], "n/odd")
    problems = {summary.name: summary.problem for summary in shop.repository.list()}
    assert problems["n/good"] is None
    assert "not JSON" in (problems["n/bad"] or "")
    assert "latest!" in (problems["n/odd"] or "")
    assert shop.repository.fetch("n/good").is_dir()
    assert shop.repository.fetch("n/odd").read_text() == "foreign"
    with pytest.raises(IntegrityError):
        shop.repository.fetch("n/bad")


def test_list__skips_versions(shop: Shop) -> None:
    """Listing assets lists at most a page of the files of a version, however many it has."""
    store = MemoryStore("skips")
    for number in range(5000):
        (shop.source / f"{number:04}").write_bytes(b"x")
    shop.open(store).push(shop.source, "n/a", layout="tree")
    told: list[str] = []

    class Watching(MemoryStore):
        get, get_range = store.get, store.get_range

        def list_after(self, prefix: str, after: str) -> Any:
            for info in store.list_after(prefix, after):
                told.append(info.key)
                yield info

    assert [summary.name for summary in shop.open(Watching("skips")).list()] == ["n/a"]
    assert 0 < len([key for key in told if key.startswith("n/a/0.0/")]) <= 1000


# Removing


def test_remove__and_restore(shop: Shop) -> None:
    """A removed version is not found, pinned or not, and comes back within the undo window."""
    shop.repository.push(shop.source, "n/a")
    shop.repository.remove("n/a:0.0")
    for spec in ("n/a", "n/a:0.0", "n/a:0"):
        with pytest.raises(NotFoundError):
            shop.repository.fetch(spec)
    shop.repository.restore("n/a:0.0")
    assert shop.repository.fetch("n/a").is_dir()


def test_remove__aliased(shop: Shop) -> None:
    """A version that an alias names cannot be removed."""
    shop.repository.push(shop.source, "n/a", alias="stable")
    with pytest.raises(ConflictError, match="'stable'"):
        shop.repository.remove("n/a:0.0")
    assert shop.listed() == ["0.0"]


def test_tombstone__of_another_meta(shop: Shop) -> None:
    """A version that another program pushed again under a removed number lives."""
    shop.foreign("1.0", "old")
    shop.overwrite_list(["1.0"])
    shop.repository.remove("n/a:1.0")
    shop.foreign("1.0", "new")
    (shop.store / "n/a/1.0.meta").write_text('{"push_date": "2025-01-01T00:00:00+00:00", "is_directory": false}')
    shop.overwrite_list(["1.0"])
    assert shop.repository.fetch("n/a").read_text() == "new"


# Beside modelkit


def test_origin__modelkit(shop: Shop) -> None:
    """A store that modelkit made is found to be its own at our first push, once, and keeps that origin."""
    shop.foreign("0.0", name="their/asset")
    shop.overwrite_list(["0.0"], "their/asset")
    shop.repository.push(shop.source, "n/a")
    (shop.store / "their/asset.versions").unlink()
    shop.change()
    shop.repository.push(shop.source, "n/a")
    assert json.loads((shop.store / ".holdfast/store.json").read_text())["origin"] == "modelkit"


def test_modelkit__in_turn(shop: Shop) -> None:
    """A version that modelkit added to its list in turn with our pushes is never lost."""
    for number in range(6):
        shop.change(str(number))
        ours = shop.repository.push(shop.source, "n/a").version
        theirs = f"0.{int(ours.split('.')[1]) + 1}"
        listed = shop.listed()
        shop.foreign(theirs)
        shop.overwrite_list([theirs, *listed])
    assert shop.listed() == [f"0.{number}" for number in reversed(range(12))]
    assert shop.repository.versions("n/a").versions == tuple(shop.listed())


def test_modelkit__overwrote_our_listing(shop: Shop) -> None:
    """A listing of ours that modelkit overwrote is restored by the next push."""
    shop.repository.push(shop.source, "n/a")
    stale = shop.listed()
    shop.change("lost")
    shop.repository.push(shop.source, "n/a")
    shop.foreign("0.7")
    shop.overwrite_list(["0.7", *stale])
    shop.change("next")
    shop.repository.push(shop.source, "n/a")
    assert shop.listed() == ["0.8", "0.7", "0.1", "0.0"]


def test_modelkit__wrote_over_our_version(shop: Shop) -> None:
    """A version of ours that another program wrote over is detected by its hash and never served."""
    shop.repository.push(shop.source / "a.txt", "n/a")
    (shop.store / "n/a/0.0").write_text("b")
    with pytest.raises(IntegrityError):
        shop.repository.fetch("n/a")
    assert [finding.state for finding in repair(shop.repository)] == []


# The document itself


def test_packs__unchanged_folder_is_not_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which nothing changed is pushed without reading a file of it."""

    def refuse(*_: object) -> bytes:
        raise AssertionError

    time.sleep(0.1)  # beyond the tick within which a file could be written again unseen
    shop.repository.push(shop.source, "n/a")
    monkeypatch.setattr("holdfast.transfer.packing.read_small", refuse)
    assert not shop.repository.push(shop.source, "n/a").created
    with pytest.raises(AssertionError):
        shop.repository.push(shop.source, "n/another")


def test_document__every_sentence_is_a_test() -> None:
    """Each sentence in a list of SEMANTICS.md is the docstring of a test, word for word."""
    promised = [line[2:].strip() for line in (ROOT / "SEMANTICS.md").read_text().splitlines() if line.startswith("* ")]
    tested: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                tested.add(" ".join((ast.get_docstring(node) or "").split()))
    assert len(promised) > 40
    assert [sentence for sentence in promised if " ".join(sentence.split()) not in tested] == []
