"""Parts of versions, and versions in folders of the user's: ``fetch`` with a sub-path, ``include`` and ``to``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import AlreadyExistsError, IntegrityError, UsageError, VersionNotFoundError


class Place:
    """A store on disk with one pushed directory, and a repository with a cache and a memory of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
        self.layout = layout
        self.folder = folder
        self.target = folder / "target"
        for name in ("store", "assets", "source", "home"):
            (folder / name).mkdir()
        monkeypatch.setenv("HOME", str(folder / "home"))
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        self.write("a.txt", "a")
        self.write("sub/b.txt", "bb")
        self.write("sub/deep/c.bin", "ccc" * 100)  # too long to stand in a page
        self.write("other/d.txt", "d")
        self.link("to-sub", "sub")
        self.link("other/up", "../a.txt")
        self.link("loop", "loop")
        self.link("dangling", "nothing")
        self.repository = self.open("assets")
        self.repository.push(self.folder / "source", "n/a", layout=layout)

    def open(self, assets: str) -> holdfast.Repository:
        (self.folder / assets).mkdir(exist_ok=True)
        return holdfast.open((self.folder / "store").as_uri(), assets_dir=self.folder / assets)

    def write(self, path: str, text: str) -> None:
        file = self.folder / "source" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def link(self, path: str, target: str) -> None:
        (self.folder / "source" / path).symlink_to(target)

    def foreign_archive(self) -> None:
        """A tar.gz as modelkit writes it, without a list of what is in it."""
        (self.folder / "store/f/a").mkdir(parents=True)
        with tarfile.open(self.folder / "store/f/a/1.0", "w:gz") as archive:
            archive.add(self.folder / "source/sub", "sub")
            archive.add(self.folder / "source/a.txt", "a.txt")
        meta = {"push_date": "2024-01-01T00:00:00+00:00", "is_directory": True}
        (self.folder / "store/f/a/1.0.meta").write_text(json.dumps(meta))


@pytest.fixture(params=["tree", "packs"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A fresh one, of either layout."""
    return Place(tmp_path, monkeypatch, request.param)


def tree(folder: Path) -> list[str]:
    """The files and links below a folder."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(str(path.relative_to(folder)) for path in found)


WHOLE = ["a.txt", "dangling", "loop", "other/d.txt", "other/up", "sub/b.txt", "sub/deep/c.bin", "to-sub"]


# nothing of the user's is lost


def test_force__a_part_removes_nothing_else(place: Place) -> None:
    """A part is not laid out over a folder that has more than the part, even if the version has that too."""
    place.repository.fetch("n/a", to=place.target)
    (place.target / "a.txt").write_text("my work")
    for spec, include in (("n/a[sub]", []), ("n/a", ["*.bin"])):
        with pytest.raises(AlreadyExistsError, match=r"a\.txt"):
            place.repository.fetch(spec, to=place.target, force=True, include=include)
    assert (place.target / "a.txt").read_text() == "my work"
    assert tree(place.target) == WHOLE


def test_force__a_part_over_the_part(place: Place) -> None:
    """A part is laid out again over itself, and mends it."""
    place.repository.fetch("n/a[sub]", to=place.target)
    (place.target / "sub/b.txt").write_text("edited")
    assert place.repository.fetch("n/a[sub]", to=place.target, force=True) == place.target / "sub"
    assert (place.target / "sub/b.txt").read_text() == "bb"
    assert tree(place.target) == ["sub/b.txt", "sub/deep/c.bin"]


def test_force__empty_directories_are_the_users(place: Place) -> None:
    """An empty directory that the version has not is the user's own."""
    place.repository.fetch("n/a", to=place.target)
    (place.target / "sub/mine").mkdir()
    with pytest.raises(AlreadyExistsError, match="sub/mine"):
        place.repository.fetch("n/a", to=place.target, force=True)
    assert (place.target / "sub/mine").is_dir()


def test_force__a_directory_is_no_file(place: Place) -> None:
    """A directory in the place of a file asset stays, and so does a file in the place of a directory."""
    place.repository.push(place.folder / "source/a.txt", "n/file")
    (place.target / "a.txt").mkdir(parents=True)
    (place.target / "a.txt/a.txt").write_text("mine")
    with pytest.raises(AlreadyExistsError):
        place.repository.fetch("n/file", to=place.target, force=True)
    with pytest.raises(AlreadyExistsError):
        place.repository.fetch("n/a", to=place.target / "a.txt/a.txt", force=True)
    assert (place.target / "a.txt/a.txt").read_text() == "mine"


# what a folder is remembered to be


def test_checkout__a_part_is_not_the_version(place: Place) -> None:
    """A folder with a part of a version is not taken for the version by a push without a name."""
    for number, (spec, include) in enumerate((("n/a[sub]", []), ("n/a", ["*.bin"]))):
        to = place.folder / f"part{number}"
        place.repository.fetch(spec, to=to, include=include)
        with pytest.raises(UsageError):
            place.repository.identify(to)
        with pytest.raises(UsageError):
            place.repository.identify(to / "sub")


def test_checkout__an_older_record_is_forgotten(place: Place) -> None:
    """A folder that was a whole version, and is a part now, is no version any more."""
    place.repository.fetch("n/a", to=place.target)
    assert place.repository.identify(place.target) == ("n/a", "0.0")
    for name in ("a.txt", "dangling", "loop", "to-sub", "other/d.txt", "other/up"):
        (place.target / name).unlink()
    (place.target / "other").rmdir()
    place.repository.fetch("n/a[sub]", to=place.target, force=True)
    with pytest.raises(UsageError):
        place.repository.identify(place.target)


# offline


@pytest.mark.parametrize("spec", ["n/a", "n/a[sub]", "n/a[sub/b.txt]", "n/a[to-sub/b.txt]", "n/file"])
@pytest.mark.parametrize("include", [[], ["*.txt"]])
def test_offline__laid_out_as_online(place: Place, spec: str, include: list[str]) -> None:
    """What is laid out offline is what is laid out online, at the same place."""
    place.repository.push(place.folder / "source/a.txt", "n/file")
    for name in ("n/a", "n/file"):
        place.repository.fetch(name)
    online = place.repository.fetch(spec, to=place.folder / "online", include=include)
    offline = place.repository.fetch_info(spec, to=place.folder / "offline", include=include, offline=True)
    assert tree(place.folder / "offline") == tree(place.folder / "online")
    assert Path(offline.path).relative_to(place.folder / "offline") == online.relative_to(place.folder / "online")
    assert (offline.from_cache, offline.verified) == (True, "digest")
    assert not list(place.folder.rglob("*.part"))


def test_offline__of_a_foreign_copy(place: Place) -> None:
    """A copy whose meta lists nothing is laid out offline by what is in it."""
    place.foreign_archive()
    place.repository.fetch("f/a:1.0")
    place.repository.fetch("f/a:1.0[sub]", to=place.target, offline=True)
    assert tree(place.target) == ["sub/b.txt", "sub/deep/c.bin"]


def test_offline__changed_copy(place: Place) -> None:
    """A cached file that was changed is not handed on, and nothing is left."""
    (place.repository.fetch("n/a") / "a.txt").write_text("X")
    with pytest.raises(IntegrityError, match=r"a\.txt"):
        place.repository.fetch("n/a", to=place.target, offline=True)
    assert not place.target.exists()
    assert not list(place.folder.glob(".*.part"))


def test_offline__force(place: Place) -> None:
    """Offline, --force mends a folder and spares what is the user's, as online."""
    place.repository.fetch("n/a")
    place.repository.fetch("n/a", to=place.target, offline=True)
    (place.target / "a.txt").write_text("edited")
    with pytest.raises(AlreadyExistsError):
        place.repository.fetch("n/a", to=place.target, offline=True)
    place.repository.fetch("n/a", to=place.target, offline=True, force=True)
    assert (place.target / "a.txt").read_text() == "a"
    (place.target / "mine").write_text("mine")
    with pytest.raises(AlreadyExistsError, match="mine"):
        place.repository.fetch("n/a", to=place.target, offline=True, force=True)


def test_offline__alias(place: Place) -> None:
    """Offline, an alias is not found, and the cached versions are named."""
    place.repository.alias("n/a", "stable", "0.0")
    place.repository.fetch("n/a:stable")
    with pytest.raises(VersionNotFoundError) as raised:
        place.repository.fetch("n/a:stable", offline=True)
    assert "0.0" in str(raised.value.hint)


# folders that are there


def test_to__the_folder_stays_the_folder(place: Place) -> None:
    """A folder that is there stays the same folder, so that who stands in it stays in it."""
    place.target.mkdir()
    number = place.target.stat().st_ino
    assert place.repository.fetch("n/a", to=place.target) == place.target
    (place.target / "a.txt").write_text("edited")
    place.repository.fetch("n/a", to=place.target, force=True)
    assert place.target.stat().st_ino == number
    assert tree(place.target) == WHOLE
    assert (place.target / "a.txt").read_text() == "a"
    assert not list(place.folder.rglob("*.part"))


def test_to__here(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--to .` fills the folder that one stands in."""
    place.target.mkdir()
    monkeypatch.chdir(place.target)
    place.repository.fetch("n/a", to=".")
    assert sorted(os.listdir(".")) == ["a.txt", "dangling", "loop", "other", "sub", "to-sub"]


def test_to__a_symlink(place: Place) -> None:
    """A symlink to a folder is filled through, and stays."""
    place.target.mkdir()
    link = place.folder / "link"
    link.symlink_to("target")
    assert place.repository.fetch("n/a", to=link) == link
    assert link.is_symlink()
    assert tree(place.target) == WHOLE


def test_to__a_mount_point(place: Place) -> None:
    """A folder that another file system is mounted on is filled."""
    place.target.mkdir()
    program = (
        "import sys, os, holdfast; r = holdfast.open(sys.argv[2], assets_dir=sys.argv[3]);"
        "r.fetch('n/a', to=sys.argv[1]); print(*sorted(os.listdir(sys.argv[1])));"
        "r.fetch('n/a', to=sys.argv[1], force=True); print(len(os.listdir(sys.argv[1])))"
    )
    script = 'mount -t tmpfs none "$1" || exit 77; exec "$0" -c "$4" "$1" "$2" "$3"'
    args = [str(place.target), (place.folder / "store").as_uri(), str(place.folder / "assets"), program]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, *args], capture_output=True, text=True, check=False
    )
    if done.returncode in (1, 77) and "Traceback" not in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr}")
    assert done.stdout == "a.txt dangling loop other sub to-sub\n6\n", done.stderr


def test_to__killed(place: Place) -> None:
    """What a killed fetch left in a folder is not in the way of the next one, which goes on with it and removes it."""
    place.target.mkdir()
    program = "import sys, holdfast; holdfast.open(sys.argv[1], assets_dir=sys.argv[2]).fetch('n/a', to=sys.argv[3])"
    args = [(place.folder / "store").as_uri(), str(place.folder / "assets"), str(place.target)]
    environ = os.environ | {"HOLDFAST_FAILPOINT": "fetch.before-rename"}
    subprocess.run([sys.executable, "-c", program, *args], env=environ, check=False)
    assert len(os.listdir(place.target)) == 1
    assert place.repository.fetch_info("n/a", to=place.target).downloaded_bytes == 0
    assert tree(place.target) == WHOLE


def test_to__store_that_fails(place: Place) -> None:
    """A fetch that fails leaves nothing in a folder that was there."""
    if place.layout == "packs":
        shutil.rmtree(place.folder / "store/.holdfast/packs")
    else:
        (place.folder / "store/n/a/0.0/a.txt").unlink()
    place.target.mkdir()
    with pytest.raises(IntegrityError):
        place.repository.fetch("n/a", to=place.target)
    assert os.listdir(place.target) == []
    (place.target / "mine").write_text("mine")
    with pytest.raises(AlreadyExistsError):
        place.repository.fetch("n/a", to=place.target, force=True)
    assert os.listdir(place.target) == ["mine"]


def test_to__a_kind_that_changed(place: Place) -> None:
    """--force replaces a file by the directory of its name, and a link by the file."""
    place.target.mkdir()
    (place.target / "sub").write_text("was a file")
    (place.target / "a.txt").symlink_to(place.folder / "source")
    place.repository.fetch("n/a", to=place.target, force=True)
    assert tree(place.target) == WHOLE
    assert (place.folder / "source/a.txt").read_text() == "a"


@pytest.mark.parametrize("inside", ["store", "assets", "assets/n/mine", "link/x"])
@pytest.mark.parametrize("offline", [False, True])
def test_to__not_into_what_is_ours(place: Place, inside: str, *, offline: bool) -> None:
    """The store and `assets_dir` are no folders to lay a version out in."""
    (place.folder / "link").symlink_to("store")
    place.repository.fetch("n/a")
    before = tree(place.folder)
    with pytest.raises(UsageError, match="lies in"):
        place.repository.fetch("n/a", to=place.folder / inside, offline=offline)
    assert tree(place.folder) == before


# symlinks on the way


@pytest.mark.parametrize(
    ("sub_path", "text"),
    [
        ("to-sub/b.txt", "bb"),
        ("to-sub/deep/c.bin", "ccc" * 100),
        ("other/up", "a"),
        ("to-sub", None),
        ("dangling", None),
    ],
)
def test_sub_path__through_links(place: Place, sub_path: str, text: str | None) -> None:
    """A sub-path through a symlink of the version leads there, whatever is cached."""
    cold = place.repository.fetch(f"n/a:0.0[{sub_path}]")
    again = place.repository.fetch(f"n/a:0.0[{sub_path}]")
    laid = place.repository.fetch(f"n/a:0.0[{sub_path}]", to=place.target)
    place.repository.fetch("n/a:0.0")
    warm = place.repository.fetch(f"n/a:0.0[{sub_path}]")
    assert cold == again
    for path in (cold, laid, warm):
        assert path.exists() == (sub_path != "dangling")
        assert text is None or path.read_text() == text
        assert sub_path != "to-sub" or tree(path.resolve()) == ["b.txt", "deep/c.bin"]


def test_sub_path__brings_what_its_links_need(place: Place) -> None:
    """What a chosen symlink points to is chosen with it, and no more."""
    place.repository.fetch("n/a[other]", to=place.target)
    assert tree(place.target) == ["a.txt", "other/d.txt", "other/up"]
    place.repository.fetch("n/a", include=["to-*"], to=place.folder / "second")
    assert tree(place.folder / "second") == ["sub/b.txt", "sub/deep/c.bin", "to-sub"]


@pytest.mark.parametrize("sub_path", ["loop", "loop/x", "dangling/x", "to-sub/nope", "a.txt/x", "sub/b.tx", "x" * 300])
def test_sub_path__not_there(place: Place, sub_path: str) -> None:
    """A sub-path that is a loop of symlinks, or leads to nothing, is not found, whatever is cached."""
    for _ in ("cold", "warm"):
        with pytest.raises(VersionNotFoundError) as raised:
            place.repository.fetch(f"n/a:0.0[{sub_path}]")
        assert sub_path != "sub/b.tx" or "sub/b.txt" in str(raised.value.hint)
        place.repository.fetch("n/a:0.0")


# archives


@pytest.mark.parametrize("spec", ["n/packed", "f/a:1.0"])
def test_archive__only_the_part_is_laid_out(place: Place, spec: str) -> None:
    """Of an archive too only the part that is wanted is laid out."""
    place.foreign_archive()
    place.repository.push(place.folder / "source", "n/packed", layout="tar.gz")
    assert place.repository.fetch(f"{spec}[sub/deep]", to=place.target) == place.target / "sub/deep"
    assert tree(place.target) == ["sub/deep/c.bin"]
    place.repository.fetch(spec, include=["b.*"], to=place.folder / "second")
    assert tree(place.folder / "second") == ["sub/b.txt"]
    with pytest.raises(VersionNotFoundError) as raised:
        place.repository.fetch(f"{spec}[sub/dep]", to=place.folder / "third")
    assert "sub/deep" in str(raised.value.hint)
    assert not (place.folder / "third").exists()
    assert not list(place.folder.rglob("*.part"))


# elsewhere


def test_locks__a_system_without_them() -> None:
    """A system without file locks can load and use the cache."""
    program = (
        "import sys; sys.modules['fcntl'] = None\n"
        "import pathlib, tempfile\n"
        "from holdfast.cache.journal import Journal\n"
        "from holdfast.cache.turns import hold\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "with hold(folder / 'lock', 'x', 1), Journal(folder, 'x') as journal: print(journal.read())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr


def test_push__of_a_folder_with_a_leftover(tmp_path: Path) -> None:
    """What a killed fetch into a folder left there is no content of a push of that folder."""
    for name in ("store", "assets", "source/.holdfast.abc.host-1-2-3.part/copy"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "source/.holdfast.abc.host-1-2-3.part/copy/half").write_text("half")
    (tmp_path / "source/a.txt").write_text("a")
    (tmp_path / "source/.holdfast.mine.part").write_text("a file of the user's own is none")
    repository = holdfast.open((tmp_path / "store").as_uri(), assets_dir=tmp_path / "assets")
    assert [entry.path for entry in repository.files(repository.push(tmp_path / "source", "n/a").spec)] == [
        ".holdfast.mine.part",
        "a.txt",
    ]
