"""A test for each fault of modelkit 0.1.3 that the drop-in does not repeat: W1 to W16 (features F61 to F76)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from holdfast.modelkit import errors
from holdfast.modelkit.manager import AssetsManager
from holdfast.modelkit.remote import StorageProvider
from tests.unit.modelkit_cases import *  # noqa: F403 - fixtures

PUSH = """
import sys
from holdfast.modelkit.remote import StorageProvider
bucket, verb, source, name, version = sys.argv[1:]
getattr(StorageProvider(provider="local", bucket=bucket), verb)(source, name, version)
"""


def push_elsewhere(bucket, verb, source, name, version, **environ):
    """A push by a process of its own."""
    command = [sys.executable, "-c", PUSH, str(bucket), verb, str(source), name, version]
    return subprocess.Popen(command, env=os.environ | environ, stderr=subprocess.PIPE, text=True)


def test_w1__local_work_survives(manager, provider, assets_dir, tree):
    """A local version that was never pushed is served and stays, whatever is fetched (W1: deleted, then "not found")."""
    provider.new(str(tree), "a", "0.0")
    own = assets_dir / "a/9.9"
    own.mkdir(parents=True)
    (own / "work.txt").write_text("mine")
    assert manager.fetch_asset("a") == str(own)
    manager.fetch_asset("a:0.0", force_download=True)
    with pytest.raises(errors.ObjectDoesNotExistError):
        manager.fetch_asset("a:9.9", force_download=True)
    assert (own / "work.txt").read_text() == "mine"


def test_w1__in_the_way(manager, provider, assets_dir, tree):
    """Local work under the number of a stored version is moved aside, never deleted (W1)."""
    provider.new(str(tree), "a", "0.0")
    own = assets_dir / "a/0.0"
    own.mkdir(parents=True)
    (own / "work.txt").write_text("mine")
    assert (manager.fetch_asset("a:0.0"), (own / "a.txt").read_text()) == (str(own), "a")
    assert [path.read_text() for path in assets_dir.rglob("work.txt")] == ["mine"]


@pytest.mark.parametrize("ending", ["", "/", "/.", "/../modelkit-assets/"])
def test_w2__the_store_is_not_the_cache(provider, bucket, tree, ending):
    """The store's own folder is refused as assets folder however it is spelled (W2: one slash deleted the only copy)."""
    provider.new(str(tree), "a", "0.0")
    with pytest.raises(errors.StorageDriverError, match="overlap"):
        AssetsManager(f"{bucket}/modelkit-assets{ending}", storage_provider=provider)


def test_w3__no_other_file_is_touched(manager, tmp_path):
    """An absolute name never opens or removes a file beside it (W3: "/some/path.version" was gone)."""
    beside = tmp_path / "some.version"
    beside.write_text("unrelated")
    for spec in (str(tmp_path / "some"), f"{tmp_path}/some:1.0"):
        with pytest.raises(errors.AssetDoesNotExistError):
            manager.fetch_asset(spec)
    assert beside.read_text() == "unrelated"


@pytest.mark.parametrize("verb", ["push", "update"])
def test_w4__folder_versions_are_immutable(provider, bucket, tree, file, verb):
    """A version of a folder is never written over, by a folder or by a file (W4)."""
    provider.new(str(tree), "a", "0.0")
    (tree / "a.txt").write_text("changed")
    for source in (tree, file):
        with pytest.raises(errors.AssetAlreadyExistsError):
            getattr(provider, verb)(str(source), "a", "0.0")
    assert (bucket / "modelkit-assets/a/0.0/a.txt").read_text() == "a"
    assert json.loads((bucket / "modelkit-assets/a.versions").read_bytes()) == {"versions": ["0.0"]}


def test_w5__concurrent_updates(provider, bucket, tree):
    """Of processes that update at once every version is listed (W5: lost in 40 rounds of 40)."""
    provider.new(str(tree), "a", "0.0")
    running = [push_elsewhere(bucket, "update", tree, "a", f"0.{number}") for number in range(1, 9)]
    assert [process.communicate()[1] for process in running] == [""] * 8
    assert provider.get_versions_info("a") == [f"0.{number}" for number in range(8, -1, -1)]


def test_w5__one_number_twice(provider, bucket, tree, file):
    """Of two pushes of one number one succeeds, and its bytes are what is there (W5: both, the last bytes win)."""
    running = [push_elsewhere(bucket, "new", source, "a", "0.0") for source in (tree, file)]
    failed = [process.communicate()[1] != "" for process in running]
    assert sorted(failed) == [False, True]
    assert provider.get_asset_meta("a", "0.0")["is_directory"] is (not failed[0])


def test_w6__a_major_is_a_number(manager, provider, tree):
    """name:1 is the newest 1.* and never 10.* (W6)."""
    provider.new(str(tree), "a", "1.0")
    provider.update(str(tree), "a", "10.3")
    assert manager.fetch_asset("a:1").endswith("a/1.0")


@pytest.mark.parametrize("verb", ["new", "update"])
@pytest.mark.parametrize("point", ["push.claimed", "push.data-written", "push.meta-written"])
def test_w7__a_killed_push_is_done_again(provider, bucket, tree, file, verb, point):
    """A push killed before its last write is done by running it again (W7: the name was bricked)."""
    version = "0.0"
    if verb == "update":
        provider.new(str(file), "a", "0.0")
        version = "0.1"
    killed = push_elsewhere(bucket, verb, tree, "a", version, HOLDFAST_FAILPOINT=point)
    killed.communicate()
    assert killed.returncode == -9
    assert push_elsewhere(bucket, verb, tree, "a", version).communicate()[1] == ""
    assert provider.get_versions_info("a")[0] == version


def test_w8__nothing_is_left_out(manager, provider, tree):
    """Hidden files, empty folders and modes come back (W8: silently left out)."""
    (tree / ".hidden").write_text("h")
    (tree / ".folder").mkdir()
    (tree / ".folder/in").write_text("i")
    (tree / "empty").mkdir()
    (tree / "a.txt").chmod(0o750)
    provider.new(str(tree), "a", "0.0")
    path = manager.fetch_asset("a")
    assert Path(path, ".hidden").read_text() == "h"
    assert os.path.exists(f"{path}/.folder/in")
    assert os.listdir(f"{path}/empty") == []
    assert os.stat(f"{path}/a.txt").st_mode & 0o777 == 0o750 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_w8__a_loop_is_refused(provider, tree):
    """A link that leads out of the folder is refused by name, and one within it stays a link (W8: 121 objects of 3)."""
    (tree / "loop").symlink_to(".")
    provider.new(str(tree), "a", "0.0")
    assert provider.get_asset_meta("a", "0.0")["contents"] == ["a.txt", "sub/b.txt"]
    (tree / "out").symlink_to("..")
    with pytest.raises(errors.AssetsManagerError, match="out"):
        provider.update(str(tree), "a", "0.1")


def test_w9__prefixes_are_apart(provider, bucket, tree):
    """Two prefixes of a bucket do not see each other, however alike they are spelled (W9)."""
    other = StorageProvider(provider="local", bucket=str(bucket), prefix="modelkit-assets2")
    inner = StorageProvider(provider="local", bucket=str(bucket), prefix="modelkit-assets2/deep")
    provider.new(str(tree), "a", "0.0")
    other.new(str(tree), "b", "0.0")
    inner.new(str(tree), "c", "0.0")
    assert [name for name, _ in provider.iterate_assets()] == ["a"]
    assert [name for name, _ in inner.iterate_assets()] == ["c"]
    assert all(name.startswith("modelkit-assets/") for name in provider.driver.iterate_objects("modelkit-assets"))


def test_w9__names_do_not_collide(provider, manager, file):
    """An asset whose name is that of another's version is refused, and the version stays (W9: it was deleted)."""
    provider.new(str(file), "a", "1.0")
    with pytest.raises(errors.InvalidNameError, match=r"1\.0"):
        provider.new(str(file), "a/1.0", "0.0")
    assert manager.fetch_asset("a:1.0")


def test_w10__a_failed_force_keeps_the_old_copy(manager, provider, bucket, tree, file):
    """A forced fetch that fails leaves the copy that is there (W10: it was deleted first)."""
    provider.new(str(tree), "a", "0.0")
    provider.new(str(file), "f", "0.0")
    folder, path = manager.fetch_asset("a:0.0"), manager.fetch_asset("f:0.0")
    (bucket / "modelkit-assets/a/0.0/a.txt").unlink()
    (bucket / "modelkit-assets/f/0.0").write_bytes(b"short")
    for spec in ("a:0.0", "f:0.0"):
        with pytest.raises(errors.AssetFetchError):
            manager.fetch_asset(spec, force_download=True)
    assert Path(folder, "a.txt").read_text() == "a"
    assert os.path.getsize(path) == 400
    assert manager.fetch_asset("f:0.0", return_info=True)["from_cache"] is True


@pytest.mark.parametrize("data", [b"data", b"DATA" * 100, b""])
def test_w11__wrong_bytes_are_not_accepted(manager, provider, bucket, assets_dir, file, data):
    """A truncated or changed object is an error, and nothing of it is served (W11: accepted, with a marker)."""
    provider.new(str(file), "f", "0.0")
    (bucket / "modelkit-assets/f/0.0").write_bytes(data)
    with pytest.raises(errors.AssetIntegrityError):
        manager.fetch_asset("f")
    assert not (assets_dir / "f/0.0").exists()
    assert not (assets_dir / "f/.0.0.SUCCESS").exists()


def test_w11__a_spoilt_copy_is_found_on_request(manager, provider, file):
    """A copy that was edited is found by asking, and made good by force (W11)."""
    provider.new(str(file), "f", "0.0")
    path = manager.fetch_asset("f")
    with open(path, "wb") as spoilt:
        spoilt.write(b"spoilt")
    status = provider.repository(manager.assets_dir).status(path)
    assert status.changed or status.added or status.removed
    manager.fetch_asset("f", force_download=True)
    assert os.path.getsize(path) == 400


def test_w12__half_a_download_is_not_served(local_manager, assets_dir):
    """What modelkit left of a killed download is not served from the folder alone; whole versions are (W12)."""
    for version, marked in (("0.0", True), ("0.1", False)):
        (assets_dir / "a" / version).mkdir(parents=True)
        (assets_dir / "a" / version / "part").write_text("x")
        if marked:
            (assets_dir / "a" / version / ".SUCCESS").touch()
    (assets_dir / ".cache").mkdir()
    (assets_dir / ".cache/a.lock").touch()  # modelkit's lock of the asset, which it leaves behind
    assert local_manager.fetch_asset("a").endswith("a/0.0")
    with pytest.raises(errors.LocalAssetDoesNotExistError, match=r"0\.0"):
        local_manager.fetch_asset("a:0.1")


def test_w13__a_copy_appears_whole(manager, provider, assets_dir, tmp_path):
    """Whoever looks at the final path sees nothing or the whole file (W13: 2,397 sizes on the way)."""
    (tmp_path / "large").write_bytes(os.urandom(24 * 1024 * 1024))
    provider.new(str(tmp_path / "large"), "f", "0.0")
    final, seen, done = assets_dir / "f/0.0", set(), threading.Event()

    def look():
        while not done.is_set():
            try:
                seen.add(final.stat().st_size)
            except FileNotFoundError:
                time.sleep(0)

    watcher = threading.Thread(target=look)
    watcher.start()
    manager.fetch_asset("f")
    time.sleep(0.05)
    done.set()
    watcher.join()
    assert seen == {24 * 1024 * 1024}


@pytest.mark.parametrize("spec", ["../a", "a/../../b", "a:1.0[../../x]", "a:.."])
def test_w14__dots_are_refused(manager, spec):
    """Names, versions and sub-parts with ".." are refused (W14)."""
    with pytest.raises(errors.InvalidAssetSpecError):
        manager.fetch_asset(spec)


@pytest.mark.parametrize("evil", ["../../evil", "/evil-of-holdfast", "a/../../../evil", "sub/../../../../evil"])
def test_w14__a_hostile_meta_writes_nothing_outside(manager, provider, bucket, tmp_path, tree, evil):
    """A meta whose contents lead out is refused, and nothing is written outside the assets folder (W14: it was)."""
    provider.new(str(tree), "a", "0.0")
    meta = {"push_date": "2024-01-01T00:00:00+00:00", "is_directory": True, "contents": [evil]}
    (bucket / "modelkit-assets/a/0.0.meta").write_text(json.dumps(meta))
    (bucket / "modelkit-assets/evil").write_text("evil")
    with pytest.raises(errors.AssetFetchError, match="unsafe path"):
        manager.fetch_asset("a:0.0")
    assert sorted(tmp_path.rglob("evil*")) == [bucket / "modelkit-assets/evil"]
    assert not os.path.exists("/evil-of-holdfast")


def test_w15__parsing_is_linear(manager):
    """A long bad spec is refused at once (W15: 24 letters took 2 seconds, every two more four times as long)."""
    begun = time.monotonic()
    for spec in ("a[" + "a" * 50_000 + "!", "a[" + "a/" * 50_000 + "\x7f]", "a" * 100_000 + "!"):
        with pytest.raises(errors.InvalidAssetSpecError):
            manager.fetch_asset(spec)
    assert time.monotonic() - begun < 1


def test_w16__refused_is_not_missing(manager, provider, monkeypatch, tree):
    """What the store refuses is reported as refused, on a fetch and on a push (W16: "does not exist", then overwritten)."""
    from holdfast.errors import AccessError
    from holdfast.store.path import PathStore

    provider.new(str(tree), "a", "0.0")

    def refuse(self, key, *_):
        raise AccessError(f"403 for {key}", subject=key)

    monkeypatch.setattr(PathStore, "get", refuse)
    for call in (
        lambda: manager.fetch_asset("a"),
        lambda: manager.fetch_asset("a:0.0"),
        lambda: provider.update(str(tree), "a", "0.1"),
        lambda: provider.get_versions_info("a"),
    ):
        with pytest.raises(errors.StorageDriverError) as caught:
            call()
        assert isinstance(caught.value, AccessError)
        assert not isinstance(caught.value, errors.ObjectDoesNotExistError)


def test_w21__the_folder_serves_while_the_store_is_away(manager, provider, monkeypatch, tree, caplog):
    """Unpinned, with a copy here and a store that does not answer, the newest copy is served, with a warning (W21)."""
    from holdfast.errors import UnreachableError
    from holdfast.store.path import PathStore

    provider.new(str(tree), "a", "0.0")
    manager.fetch_asset("a")

    def silent(self, key, *_):
        raise UnreachableError("no answer", subject=key)

    monkeypatch.setattr(PathStore, "get", silent)
    assert manager.fetch_asset("a").endswith("a/0.0")
    assert "does not answer" in caplog.text
    with pytest.raises(errors.StorageUnreachableError):
        manager.fetch_asset("b")


def test_w25__a_bad_entry_spoils_nothing(manager, provider, bucket, tree):
    """An entry of the list that is no version is left out, and the rest works (W25: every unpinned fetch failed)."""
    provider.new(str(tree), "a", "0.0")
    path = bucket / "modelkit-assets/a.versions"
    path.write_text('{"versions": ["not a version", "0.0"]}')
    assert manager.fetch_asset("a").endswith("a/0.0")
    assert provider.get_versions_info("a") == ["0.0"]
