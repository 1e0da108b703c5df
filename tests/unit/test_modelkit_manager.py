"""AssetsManager: construction, fetching, the seven keys, local-only work, specs of every kind (features F10 to F27)."""

from __future__ import annotations

import os
import stat
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from holdfast.errors import BusyError, NotFoundError
from holdfast.model.spec import AssetSpec as CoreSpec
from holdfast.modelkit import errors
from holdfast.modelkit.manager import AssetFetchError, AssetsManager
from holdfast.modelkit.remote import StorageProvider
from holdfast.modelkit.settings import AssetSpec
from tests.unit.modelkit_cases import *  # noqa: F403 - fixtures

KEYS = {"path", "from_cache", "meta", "version", "object_name", "meta_object_name", "versions_object_name"}


@pytest.fixture
def pushed(provider, tree, file):
    """An asset of trees, 0.0, 0.1, 1.0 and 10.0, and a file."""
    provider.new(str(tree), "cat/tree", "0.0")
    for version in ("0.1", "1.0", "10.0"):
        provider.update(str(tree), "cat/tree", version)
    provider.new(str(file), "cat/file.bin", "0.0")
    return provider


# construction


def test_assets_dir(tmp_path, monkeypatch):
    """The folder is the argument, else MODELKIT_ASSETS_DIR, else the current one, and it must exist (F10)."""
    monkeypatch.chdir(tmp_path)
    assert AssetsManager().assets_dir == str(tmp_path)
    (tmp_path / "named").mkdir()
    monkeypatch.setenv("MODELKIT_ASSETS_DIR", str(tmp_path / "named"))
    assert AssetsManager().assets_dir == str(tmp_path / "named")
    assert AssetsManager(assets_dir=str(tmp_path)).assets_dir == str(tmp_path)
    with pytest.raises(FileNotFoundError):
        AssetsManager(assets_dir=str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_timeout(assets_dir, monkeypatch):
    """The timeout is the argument, else MODELKIT_ASSETS_TIMEOUT_S, else 10 seconds (F11)."""
    assert AssetsManager(assets_dir).timeout == 10
    monkeypatch.setenv("MODELKIT_ASSETS_TIMEOUT_S", "3")
    assert AssetsManager(assets_dir).timeout == 3
    assert AssetsManager(assets_dir, timeout=4).timeout == 4
    monkeypatch.setenv("MODELKIT_ASSETS_TIMEOUT_S", "abc")
    with pytest.raises(ValueError, match="abc"):
        AssetsManager(assets_dir)


def test_provider__from_environment(assets_dir, bucket, monkeypatch):
    """The store is that of MODELKIT_STORAGE_*, and there is none where they say nothing (F12)."""
    assert AssetsManager(assets_dir).storage_provider is None
    monkeypatch.setenv("MODELKIT_STORAGE_PROVIDER", "local")
    monkeypatch.setenv("MODELKIT_STORAGE_BUCKET", str(bucket))
    made = AssetsManager(assets_dir)
    assert made.storage_provider.driver.bucket == str(bucket)
    assert made.storage_prefix == "modelkit-assets"


def test_provider__switched_off(assets_dir, bucket, monkeypatch):
    """storage_provider=False works on the folder alone whatever the environment says (fault W23: no way to)."""
    monkeypatch.setenv("MODELKIT_STORAGE_PROVIDER", "local")
    monkeypatch.setenv("MODELKIT_STORAGE_BUCKET", str(bucket))
    assert AssetsManager(assets_dir, storage_provider=False).storage_provider is None


def test_provider__set_to_none(manager, pushed, assets_dir):
    """Setting the attribute to None, as modelkit's library does, works on the folder alone from then on."""
    manager.fetch_asset("cat/tree:0.0")
    manager.storage_provider = None
    assert manager.fetch_asset("cat/tree") == str(assets_dir / "cat/tree/0.0")


@pytest.mark.parametrize("url", ["{root}", "file://{root}"])
def test_provider__of_holdfast_settings(assets_dir, bucket, tree, monkeypatch, url):
    """HOLDFAST_STORE is a complete store for the manager too, stronger than modelkit's variables."""
    StorageProvider(provider="local", bucket=str(bucket), prefix="p/q").new(str(tree), "a", "0.0")
    monkeypatch.setenv("HOLDFAST_STORE", url.format(root=bucket / "p" / "q"))
    monkeypatch.setenv("MODELKIT_STORAGE_PROVIDER", "s3")
    info = AssetsManager(assets_dir).fetch_asset("a", return_info=True)
    assert info["object_name"] == "a/0.0"
    monkeypatch.setenv("HOLDFAST_STORE", str(bucket))
    info = AssetsManager(assets_dir, storage_prefix="p/q").fetch_asset("a", return_info=True, force_download=True)
    assert info["object_name"] == "p/q/a/0.0"


def test_storage_prefix(assets_dir, bucket, tree, monkeypatch):
    """The seed's storage_prefix is what all stored assets lie under (seed 002; D1: modelkit refuses it)."""
    monkeypatch.setenv("MODELKIT_STORAGE_PROVIDER", "local")
    monkeypatch.setenv("MODELKIT_STORAGE_BUCKET", str(bucket))
    StorageProvider(prefix="mine").new(str(tree), "a", "0.0")
    manager = AssetsManager(assets_dir=str(assets_dir), storage_prefix="mine")
    assert manager.fetch_asset("a", return_info=True)["object_name"] == "mine/a/0.0"
    with pytest.raises(errors.StorageConfigurationError):
        AssetsManager(assets_dir, storage_provider=manager.storage_provider, storage_prefix="other")


@pytest.mark.parametrize("inside", [".", "store", ".."])
def test_overlap(tmp_path, inside):
    """A store in, at or around the assets folder is refused by real path (F13; fault W2: one slash passed)."""
    assets = tmp_path / "x" / "assets"
    (assets / "store").mkdir(parents=True)
    (tmp_path / "link").symlink_to(assets)
    root = os.path.normpath(tmp_path / "link" / inside) if inside != ".." else str(tmp_path)
    provider = StorageProvider(provider="local", bucket=os.path.dirname(root) or "/", prefix=os.path.basename(root))
    with pytest.raises(errors.StorageDriverError, match="overlap"):
        AssetsManager(str(assets) + "/", storage_provider=provider)


# fetching


def test_fetch__path(manager, pushed, assets_dir):
    """A fetch answers the path of the folder, or of the version-named file (F14, F19)."""
    assert manager.fetch_asset("cat/tree:0.0") == str(assets_dir / "cat/tree/0.0")
    assert (assets_dir / "cat/tree/0.0/sub/b.txt").read_text() == "bb"
    path = manager.fetch_asset("cat/file.bin")
    assert path == str(assets_dir / "cat/file.bin/0.0")
    assert os.path.getsize(path) == 400


def test_fetch__info(manager, pushed):
    """The seven keys are there on a download and on a hit, push_date a moment with a time zone (F15; D2, D3)."""
    for from_cache in (False, True):
        info = manager.fetch_asset("cat/tree:0.1", return_info=True)
        assert info.keys() == KEYS
        assert info["from_cache"] is from_cache
        assert info["version"] == "0.1"
        assert info["object_name"] == "modelkit-assets/cat/tree/0.1"
        assert info["meta_object_name"] == "modelkit-assets/cat/tree/0.1.meta"
        assert info["versions_object_name"] == "modelkit-assets/cat/tree.versions"
        assert info["meta"]["is_directory"] is True
        assert info["meta"]["contents"] == ["a.txt", "sub/b.txt"]
        assert info["meta"]["hash"].startswith("blake3:")
        assert abs((datetime.now(UTC) - info["meta"]["push_date"]).total_seconds()) < 3600


@pytest.mark.parametrize(
    ("spec", "version"), [("cat/tree", "10.0"), ("cat/tree:1", "1.0"), ("cat/tree:0", "0.1"), ("cat/tree:0.0", "0.0")]
)
def test_fetch__version(manager, pushed, spec, version):
    """Exact, newest of a major, newest of all (seed 002; F9, F18); 1 never stands for 10.* (fault W6)."""
    assert manager.fetch_asset(spec, return_info=True)["version"] == version


def test_fetch__specs_of_every_kind(manager, pushed):
    """Texts, specs of the drop-in, of the core and of the real modelkit are understood, and left as they are (F4, W26)."""
    kind = type("MajorMinorAssetsVersioningSystem", (), {"__module__": "modelkit.assets.versioning.major_minor"})
    theirs = SimpleNamespace(name="cat/tree", version="1", sub_part="sub", versioning=kind())
    for spec in (AssetSpec("cat/tree", version="1", sub_part="sub"), CoreSpec("cat/tree", "1", "sub"), theirs):
        assert manager.fetch_asset(spec).endswith("cat/tree/1.0/sub")
        assert spec.version == "1"


def test_fetch__force(manager, pushed, assets_dir, bucket, monkeypatch):
    """Force is the argument, else the provider's, else the environment's, where False and 0 are off (F16, W23)."""
    manager.fetch_asset("cat/tree:0.0")
    assert manager.fetch_asset("cat/tree:0.0", return_info=True, force_download=True)["from_cache"] is False
    monkeypatch.setenv("MODELKIT_STORAGE_FORCE_DOWNLOAD", "False")
    off = StorageProvider(provider="local", bucket=str(bucket))
    monkeypatch.setenv("MODELKIT_STORAGE_FORCE_DOWNLOAD", "1")
    on = StorageProvider(provider="local", bucket=str(bucket))
    over = StorageProvider(provider="local", bucket=str(bucket), force_download=False)
    assert [made.force_download for made in (off, on, over)] == [False, True, False]
    made = AssetsManager(assets_dir, storage_provider=on)
    assert made.fetch_asset("cat/tree:0.0", return_info=True)["from_cache"] is False
    assert made.fetch_asset("cat/tree:0.0", return_info=True, force_download=False)["from_cache"] is True


def test_fetch__cached_asks_nobody(manager, pushed, bucket):
    """A pinned version that is here costs no question to the store (F17)."""
    manager.fetch_asset("cat/tree:0.0")
    os.rename(bucket, f"{bucket}.gone")
    assert manager.fetch_asset("cat/tree:0.0", return_info=True).keys() == KEYS


def test_fetch__markers(manager, pushed, assets_dir):
    """modelkit's markers say that a copy is complete (F20)."""
    manager.fetch_asset("cat/tree:0.0")
    manager.fetch_asset("cat/file.bin:0.0")
    assert (assets_dir / "cat/tree/0.0/.SUCCESS").read_bytes() == b""
    assert (assets_dir / "cat/file.bin/.0.0.SUCCESS").read_bytes() == b""


def test_fetch__many_at_once(assets_dir, provider, pushed):
    """Of many who fetch at once one downloads, the others find it cached (F21)."""
    managers = [AssetsManager(str(assets_dir), storage_provider=provider) for _ in range(8)]
    infos = []
    threads = [
        threading.Thread(target=lambda m=m: infos.append(m.fetch_asset("cat/tree:0.0", return_info=True)))
        for m in managers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(info["from_cache"] for info in infos) == [False] + [True] * 7


def test_fetch__timeout(assets_dir, provider, pushed):
    """Waiting for another process ends with a typed error, which is a TimeoutError and an AssetFetchError (F22)."""
    manager = AssetsManager(assets_dir, timeout=1, storage_provider=provider)
    held = manager.storage_provider.repository(manager.assets_dir, 1).assets
    with held.lock("cat/tree", "0.0", 1), pytest.raises(TimeoutError, match="another process") as caught:
        manager.fetch_asset("cat/tree:0.0")
    assert isinstance(caught.value, AssetFetchError | BusyError)


def test_fetch__sub_part(manager, pushed, assets_dir):
    """A sub-part fetches the whole asset and answers the part's path; a missing one is an AssetFetchError (F23)."""
    for spec in ("cat/tree:0.0[sub/b.txt]", "cat/tree:0.0[/sub/b.txt]"):
        assert manager.fetch_asset(spec) == str(assets_dir / "cat/tree/0.0/sub/b.txt")
    assert (assets_dir / "cat/tree/0.0/a.txt").exists()
    for spec in ("cat/tree:0.0[nothing]", "cat/file.bin:0.0[part]"):
        with pytest.raises(AssetFetchError):
            manager.fetch_asset(spec)


def test_fetch__read_only(manager, pushed, assets_dir):
    """A folder that cannot be written serves what is in it, with a provider too (F25; fault W17: a PermissionError)."""
    manager.fetch_asset("cat/tree:0.0")
    folders = [assets_dir, *(path for path in assets_dir.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert manager.fetch_asset("cat/tree:0.0", return_info=True)["from_cache"] is True
    finally:
        for folder in folders:
            folder.chmod(0o755)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("nothing", errors.ObjectDoesNotExistError),
        ("nothing", errors.AssetDoesNotExistError),
        ("nothing:1.0", errors.ObjectDoesNotExistError),
        ("cat/tree:7", errors.AssetMajorVersionDoesNotExistError),
        ("cat/tree:7.0", errors.ObjectDoesNotExistError),
    ],
)
def test_fetch__unknown(manager, pushed, spec, kind):
    """What is not there is a typed error (F26; fault W26: an IndexError), and always a NotFoundError."""
    with pytest.raises(kind) as caught:
        manager.fetch_asset(spec)
    assert isinstance(caught.value, NotFoundError)


# the folder alone


@pytest.fixture
def by_hand(assets_dir):
    """Versions that somebody made by hand."""
    for version in ("0.9", "0.10", "1.0"):
        (assets_dir / "cat/mine" / version).mkdir(parents=True)
    (assets_dir / "cat/one").mkdir()
    (assets_dir / "cat/one/0.0").write_text("one")
    return assets_dir


def test_local__versions(local_manager, by_hand):
    """Without a store the versions are those of the folder, also hand-made ones; newest unless told (F24, F27)."""
    assert local_manager.fetch_asset("cat/mine") == str(by_hand / "cat/mine/1.0")
    assert local_manager.fetch_asset("cat/mine:0") == str(by_hand / "cat/mine/0.10")
    assert local_manager.fetch_asset("cat/mine:0.9") == str(by_hand / "cat/mine/0.9")
    assert local_manager.fetch_asset("cat/one") == str(by_hand / "cat/one/0.0")


def test_local__info(local_manager, by_hand):
    """The seven keys are there without a store too (D3, D4)."""
    info = local_manager.fetch_asset("cat/mine", return_info=True)
    assert info.keys() == KEYS
    assert info["from_cache"] is True
    assert info["meta"] == {"is_directory": True}
    assert info["object_name"] == "modelkit-assets/cat/mine/1.0"


def test_local__unknown(local_manager, by_hand):
    """An unknown local version lists those that are there; force without a store is refused (F26)."""
    with pytest.raises(errors.LocalAssetDoesNotExistError, match=r"1.0, 0.10, 0.9"):
        local_manager.fetch_asset("cat/mine:7.0")
    with pytest.raises(errors.LocalAssetDoesNotExistError):
        local_manager.fetch_asset("cat/mine:7")
    with pytest.raises(errors.AssetDoesNotExistError):
        local_manager.fetch_asset("nothing")
    with pytest.raises(errors.StorageDriverError, match="no store"):
        local_manager.fetch_asset("cat/mine", force_download=True)


def test_local__bare_paths(local_manager, assets_dir, tmp_path, monkeypatch):
    """A name without versions is a path: in the assets folder, else the current one, else as it is (F24; D12, D19)."""
    (tmp_path / "cwd" / "two").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "cwd")
    (assets_dir / "one").write_text("1")
    (tmp_path / "three").write_text("3")
    assert local_manager.fetch_asset("one") == str(assets_dir / "one")
    assert local_manager.fetch_asset("two") == str(tmp_path / "cwd" / "two")
    info = local_manager.fetch_asset(str(tmp_path / "three"), return_info=True)
    assert info["path"] == str(tmp_path / "three")
    assert info.keys() == KEYS
    assert info["version"] is None


def test_local__bare_path_sub_part(local_manager, assets_dir):
    """The sub-part of a bare local path is looked up in it (modelkit ignores it)."""
    (assets_dir / "folder").mkdir()
    (assets_dir / "folder" / "x").write_text("x")
    assert local_manager.fetch_asset("folder[x]") == str(assets_dir / "folder/x")
    with pytest.raises(AssetFetchError):
        local_manager.fetch_asset("folder[y]")


# the store and the folder together


def test_union(manager, pushed, assets_dir):
    """Unpinned is the newest of the store and of the folder; a local version that was never pushed stays (F18, W1)."""
    own = assets_dir / "cat/tree/99.9"
    own.mkdir(parents=True)
    (own / "work.txt").write_text("mine")
    for spec in ("cat/tree", "cat/tree:99", "cat/tree:99.9"):
        info = manager.fetch_asset(spec, return_info=True)
        assert (info["path"], info["from_cache"]) == (str(own), True)
        assert info.keys() == KEYS
    assert (own / "work.txt").read_text() == "mine"
    assert manager.fetch_asset("cat/tree:10").endswith("10.0")


def test_union__only_local(manager, provider, assets_dir):
    """An asset that is in the folder alone is served though the store does not know it (W21)."""
    (assets_dir / "mine/0.0").mkdir(parents=True)
    assert manager.fetch_asset("mine") == str(assets_dir / "mine/0.0")
    assert manager.fetch_asset("mine:0.0") == str(assets_dir / "mine/0.0")


def test_union__another_stores_copy(assets_dir, tmp_path, provider, pushed, tree):
    """What was fetched from another store counts for nothing here."""
    (tmp_path / "other").mkdir()
    other = StorageProvider(provider="local", bucket=str(tmp_path / "other"))
    other.new(str(tree), "cat/tree", "50.0")
    AssetsManager(assets_dir, storage_provider=other).fetch_asset("cat/tree")
    made = AssetsManager(assets_dir, storage_provider=provider)
    assert made.fetch_asset("cat/tree").endswith("10.0")
    with pytest.raises(errors.ObjectDoesNotExistError):
        made.fetch_asset("cat/tree:50.0")


def test_unknown_name__falls_back_to_a_path(manager, tmp_path):
    """With a store, too, a name that it does not know may be a local path (fault W21)."""
    (tmp_path / "there").write_text("x")
    assert manager.fetch_asset(str(tmp_path / "there")) == str(tmp_path / "there")
    with pytest.raises(errors.AssetDoesNotExistError):
        manager.fetch_asset(str(tmp_path / "nowhere"))
