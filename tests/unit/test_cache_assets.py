"""Copies under ``assets_dir``: whose they are, how they get their name, and what is never deleted."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from holdfast.cache.assets import AssetsDir, Known
from holdfast.cache.eviction import evict
from holdfast.cache.owners import is_dead, owner
from holdfast.cache.tree import finish_copy, matches, prepare_copy, scan
from holdfast.cache.turns import hold
from holdfast.cache.work import WorkDir, open_work_dir
from holdfast.disk import local_errors
from holdfast.errors import BusyError, IntegrityError, LocalError, UnreachableError, UsageError
from holdfast.formats import layout as keys
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Entry
from holdfast.store.memory import MemoryStore
from tests.fakes import Fault, FaultyStore, Notes, Script, repository_on

KNOWN = Known("memory://x", "id", "digest", "blake3:00")


@pytest.fixture
def assets(tmp_path):
    """An empty folder."""
    return AssetsDir(tmp_path)


def made(work: WorkDir, *names: str) -> WorkDir:
    """A directory ready to be installed."""
    work.copy.mkdir()
    for name in names:
        (work.copy / name).write_text(name)
    (work.copy / keys.MARKER).touch()
    return work


def dead_owner() -> str:
    """What stands in the work directories of a process that is gone."""
    code = "from holdfast.cache.owners import owner; print(owner())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def leftovers(path: Path) -> list[str]:
    return sorted(found.name for found in path.rglob("*.part"))


def test_work_dir__dead_process(assets, tmp_path):
    """What a dead process left of the same content is taken over; of another content it is swept."""
    final = assets.path_of("n", "1.0")
    owner = dead_owner()
    for identity, text in (("same", "kept"), ("other", "swept")):
        left = final.parent / f".1.0.{identity}.{owner}.part"
        left.mkdir(parents=True)
        (left / "scratch").write_text(text)
    found = assets.work_dir(final, "same")
    assert found.scratch.read_text() == "kept"
    assert len(leftovers(tmp_path)) == 1


def test_work_dir__living_process(assets):
    """What a living process has in the making is left alone, and so is what another machine has."""
    final = assets.path_of("n", "1.0")
    code = "import sys; from holdfast.cache.owners import owner; print(owner(), flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        owner = other.stdout.readline().strip()
        elsewhere = "another-host" + owner[owner.index("-") :] if "-" in owner else owner
        lefts = [final.parent / f".1.0.same.{who}.part" for who in (owner, elsewhere)]
        for left in lefts:
            left.mkdir(parents=True)
        found = assets.work_dir(final, "same")
        assert all(left.exists() for left in lefts)
        assert found.path not in lefts
        other.stdin.close()


def test_work_dir__one_gets_it(assets):
    """Of several that want a leftover one gets it."""
    final = assets.path_of("n", "1.0")
    left = final.parent / f".1.0.same.{dead_owner()}.part"
    left.mkdir(parents=True)
    (left / "scratch").write_text("x")
    code = (
        "import sys; from pathlib import Path; from holdfast.cache.work import open_work_dir;"
        "w = open_work_dir(Path(sys.argv[1]), 'same'); print(w.scratch.exists(), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(final)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    answers = [process.stdout.readline().strip() for process in running]
    for process in running:
        process.communicate()
    assert sorted(answers) == ["False"] * 5 + ["True"]


def test_install__new(assets, tmp_path):
    """A finished copy gets its name with its marker in it."""
    final = assets.path_of("n", "1.0")
    assert assets.install(made(assets.work_dir(final, "i"), "a"), final) is None
    assert assets.is_complete("n", "1.0")
    assert leftovers(tmp_path) == []


def test_install__over_old(assets, tmp_path):
    """An old copy is exchanged for the new one and is gone."""
    final = assets.path_of("n", "1.0")
    for name in ("old", "new"):
        assets.install(made(assets.work_dir(final, "i"), name), final)
    assert sorted(os.listdir(final)) == [".SUCCESS", "new"]
    assert leftovers(tmp_path) == []


def test_install__without_exchange(tmp_path):
    """Where names cannot be exchanged, as on file systems without it, the old copy still gives way to the new one."""
    final = tmp_path / "1.0"
    (final / "sub").mkdir(parents=True)
    work = made(open_work_dir(final, "i"), "new")
    spare = work.copy.with_name("old")
    final.rename(spare)
    work.copy.rename(final)
    assert sorted(os.listdir(final)) == [".SUCCESS", "new"]


def test_install__own_work_is_set_aside(assets, tmp_path):
    """Content without a marker is moved aside each time, never deleted."""
    final = assets.path_of("n", "1.0")
    for number in range(3):
        if final.exists():
            (final / keys.MARKER).unlink()
        else:
            final.mkdir(parents=True)
        (final / "mine").write_text(str(number))
        aside = assets.install(made(assets.work_dir(final, "i"), "new"), final, keep_old=True)
        assert (aside / "mine").read_text() == str(number)
    assert sorted(path.read_text() for path in tmp_path.rglob("mine")) == ["0", "1", "2"]


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_fetch__unmarked_file_of_another_kind(tmp_path, kind):
    """A file in the way of a directory, or the other way round, is set aside too."""
    store = MemoryStore("kinds")
    repository = repository_on(store, tmp_path / "m")
    source = tmp_path / "source"
    if kind == "file":
        source.write_text("asset")
    else:
        source.mkdir()
        (source / "a").write_text("asset")
    repository.push(source, "n")
    final = repository.assets.path_of("n", "0.0")
    if kind == "file":
        final.mkdir(parents=True)
        (final / "mine").write_text("mine")
    else:
        final.parent.mkdir(parents=True)
        final.write_text("mine")
    path = repository.fetch("n:0.0")
    assert (path if kind == "file" else path / "a").read_text() == "asset"
    kept = [
        path.read_text() for path in (tmp_path / "m" / "assets" / ".holdfast" / "aside").rglob("*") if path.is_file()
    ]
    assert kept == ["mine"]
    assert isinstance(repository.engine.progress, Notes)
    assert "moved to" in repository.engine.progress.warnings[0]


def test_fetch__unmarked_equal_copy(tmp_path):
    """A copy without a marker that is just what was published only gets its marker."""
    repository = repository_on(FaultyStore(MemoryStore("equal")), tmp_path / "m")
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("asset")
    repository.push(source, "n")
    final = repository.assets.path_of("n", "0.0")
    final.mkdir(parents=True)
    (final / "a").write_text("asset")
    fetched = repository.fetch_info("n:0.0")
    assert fetched.from_cache
    assert repository.assets.is_complete("n", "0.0")


def test_fetch__pinned_and_cached_asks_nobody(tmp_path):
    """A pinned, cached spec makes no call."""
    store = FaultyStore(MemoryStore("quiet"))
    repository = repository_on(store, tmp_path / "m")
    (tmp_path / "f").write_text("x")
    repository.push(tmp_path / "f", "n")
    repository.fetch("n:0.0")
    store.calls.clear()
    assert repository.fetch_info("n:0.0").from_cache
    assert store.calls == {}


@pytest.mark.parametrize("layout", ["tree", "tar.gz"])
def test_fetch__goes_on_after_an_outage(tmp_path, layout):
    """A fetch that broke off leaves no copy; run again it goes on, with read-only files too."""
    store = FaultyStore(MemoryStore("outage"))
    repository = repository_on(store, tmp_path / "m")
    source = tmp_path / "source"
    source.mkdir()
    for number in range(12):
        (source / f"{number}").write_bytes(b"%d" % number * 1000)
        (source / f"{number}").chmod(0o444)
    (source / "large").write_bytes(os.urandom(20 * 1024 * 1024))
    repository.push(source, "n", layout=layout)
    store.plan = Script().add(Fault.BEFORE, "get_range", after=1)
    with pytest.raises(UnreachableError):
        repository.fetch("n:0.0")
    assert not repository.assets.path_of("n", "0.0").exists()
    fetched = repository.fetch_info("n:0.0")
    path = Path(fetched.path)
    assert all((path / entry.name).read_bytes() == entry.read_bytes() for entry in source.iterdir())
    assert layout != "tree" or fetched.downloaded_bytes < 20 * 1024 * 1024 + 1
    assert leftovers(tmp_path) == []


def test_fetch__archive_lacks_a_file(tmp_path):
    """An archive that lacks a file of the manifest is damaged, though it has others."""
    import gzip
    import io
    import tarfile

    store = MemoryStore("lacks")
    repository = repository_on(store, tmp_path / "m")
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    for name in ("a", "b", "d/c"):
        (source / name).write_text(name)
    repository.push(source, "n", layout="tar.gz")
    packed = io.BytesIO(gzip.decompress(bytes(store.get("n/0.0").data)))
    out = io.BytesIO()
    with tarfile.open(fileobj=packed) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
        for member in old:
            if member.name != "b":
                new.addfile(member, old.extractfile(member) if member.isfile() else None)
    store.put("n/0.0", out.getvalue())
    with pytest.raises(IntegrityError, match="'b'"):
        repository.fetch("n:0.0")
    assert not repository.assets.path_of("n", "0.0").exists()


def test_is_complete__markers(assets, tmp_path):
    """modelkit's markers decide: in a directory's root, beside a file; a marker without its file is nothing."""
    (tmp_path / "n" / "1.0").mkdir(parents=True)
    assert not assets.is_complete("n", "1.0")
    (tmp_path / "n" / "1.0" / ".SUCCESS").touch()
    (tmp_path / "n" / ".2.0.SUCCESS").touch()
    assert assets.is_complete("n", "1.0")
    assert not assets.is_complete("n", "2.0")
    (tmp_path / "n" / "2.0").write_text("x")
    assert assets.is_complete("n", "2.0")
    assert {entry.version for entry in assets.entries()} == {"1.0", "2.0"}


def test_record__round_trip(assets):
    """What is known of a copy is read back; nonsense counts as nothing known."""
    assets.record("g/n", "1.0", KNOWN, b"meta", {"a": "d"})
    assert assets.known("g/n", "1.0") == KNOWN
    assert assets.meta("g/n", "1.0") == b"meta"
    assert assets.digests("g/n", "1.0") == {"a": "d"}
    next(path for path in assets.path.rglob("1.0.json")).write_text("[1")
    assert assets.known("g/n", "1.0") is None


def test_doubt(assets):
    """A copy about to be replaced is no store's."""
    assets.record("n", "1.0", KNOWN, b"meta", {})
    assets.doubt("n", "1.0")
    assert assets.known("n", "1.0").store != KNOWN.store


def test_remove(assets, tmp_path):
    """A removed copy leaves nothing, of a file nor of a directory."""
    final = assets.path_of("n", "1.0")
    work = made(assets.work_dir(final, "i"), "a")
    assets.record("n", "1.0", KNOWN, b"meta", {})
    assets.install(work, final)
    (tmp_path / "n" / "2.0").write_text("file")
    (tmp_path / "n" / ".2.0.SUCCESS").touch()
    for entry in assets.entries():
        assert evict(assets, entry) is None
        assert not assets.is_complete("n", entry.version)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_hold__deadline(tmp_path):
    """Who waits for another's lock longer than its deadline gets a clear error, and goes on once it is free."""
    lock = tmp_path / "lock"
    entered, leave = threading.Event(), threading.Event()

    def keep():
        with hold(lock, "n:1.0", 1):
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=keep)
    other.start()
    entered.wait(10)
    with pytest.raises(BusyError, match=r"n:1\.0") as caught, hold(lock, "n:1.0", 0.05):
        pass
    assert caught.value.exit_code == 1
    leave.set()
    with hold(lock, "n:1.0", 10):
        pass
    other.join()


def test_lock__missing_folder(tmp_path):
    """A folder that is not there is a local error that says which setting to look at."""
    with (
        pytest.raises(LocalError, match="not a directory") as caught,
        AssetsDir(tmp_path / "absent").lock("n", "1.0", 1),
    ):
        pass
    assert "assets_dir" in caught.value.hint


def test_owner__is_alive():
    """This process is not dead, and one that never was is not known."""
    assert not is_dead(owner())
    assert not is_dead("nonsense")


# scanning and laying out


def test_scan__keeps(tmp_path):
    """Hidden files, empty directories, modes, times and links are kept; a root-level empty marker is not content."""
    (tmp_path / ".hidden").write_text("h")
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").write_text("#!")
    (tmp_path / "run").chmod(0o750)
    (tmp_path / "link").symlink_to("run")
    (tmp_path / ".SUCCESS").touch()
    (tmp_path / "empty" / "deeper").mkdir()
    (tmp_path / "empty" / "deeper" / ".SUCCESS").touch()
    found = {item.entry.path: item.entry for item in scan(tmp_path)}
    assert sorted(found) == [".hidden", "empty", "empty/deeper", "empty/deeper/.SUCCESS", "link", "run"]
    assert found["run"].mode == 0o750
    assert (found["link"].kind, found["link"].target) == ("link", "run")


def test_scan__refused(tmp_path):
    """Links that lead out, pipes, sockets and names that are not UTF-8 are refused by name, with the way out."""
    cases = {
        "out": lambda path: path.symlink_to("../x"),
        "absolute": lambda path: path.symlink_to("/etc/passwd"),
        "pipe": os.mkfifo,
    }
    for name, make in cases.items():
        folder = tmp_path / name
        folder.mkdir()
        make(folder / "bad")
        with pytest.raises(UsageError, match="bad"):
            scan(folder)
    (tmp_path / "bytes").mkdir()
    (Path(os.fsdecode(os.fsencode(tmp_path / "bytes") + b"/\xff"))).touch()
    with pytest.raises(UsageError, match="UTF-8"):
        scan(tmp_path / "bytes")


def test_scan__link_loop(tmp_path):
    """A link loop is an error, not a thousand copies."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to("..")
    with pytest.raises(UsageError, match="loop"):
        scan(tmp_path, follow_links=True)


def test_scan__follows(tmp_path):
    """Links are followed where that is asked for: their targets are stored as they are."""
    (tmp_path / "outside").write_text("o")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to("../outside")
    (entry,) = [item.entry for item in scan(folder, follow_links=True)]
    assert (entry.kind, entry.size) == ("file", 1)


def test_matches():
    """A pattern fits a whole path, its last piece, or a directory above."""
    assert matches("a/b.txt", ["*.txt"])
    assert matches("a/b.txt", ["a"])
    assert matches("a/b.txt", ["a/"])
    assert not matches("a/b.txt", ["b"])
    assert not matches("a/b.txt", [])


@pytest.mark.parametrize(
    ("folder", "told"), [("/dev/pts", "'link' cannot be made"), ("/nonexistent", "directory: /nonexistent/link")]
)
def test_finish_copy__no_symlinks(folder, told):
    """A symlink that cannot be made is named itself, and not what it leads to; where the file system has none, what to do is said."""
    if folder == "/dev/pts" and not os.access(folder, os.W_OK):
        pytest.skip("needs a file system without symlinks that may be written: root")
    with pytest.raises(LocalError, match=told), local_errors(Path(folder)):
        finish_copy(folder, [Entry("link", "link", target="elsewhere")])


def test_finish_copy__never_setuid(tmp_path):
    """Modes go through the umask, and never are setuid, nor lock the owner out of a directory."""
    entries = [Entry("d", "dir", mode=0o000), Entry("d/f", mode=0o6777, digest=digest_of(b""))]
    prepare_copy(str(tmp_path), entries)
    (tmp_path / "d" / "f").touch()
    before = os.umask(0o027)
    try:
        finish_copy(str(tmp_path), entries)
    finally:
        os.umask(before)
    assert (tmp_path / "d" / "f").stat().st_mode & 0o7777 == 0o750
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o700
