"""``AssetsManager`` where the store is a project on a server: the same class, no keys of the bucket."""

from __future__ import annotations

import pickle
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import AccessError, AlreadyExistsError
from holdfast.modelkit.errors import AssetAlreadyExistsError, AssetDoesNotExistError, StorageConfigurationError
from holdfast.modelkit.remote import StorageProvider


@contextmanager
def activated(name):
    """The process works on the project."""
    with holdfast.activate(name):
        yield


WAYS = {
    "store": (lambda url: {"HOLDFAST_STORE": f"{url}/p"}, nullcontext),
    "server and project": (lambda url: {"ASSET_SERVER_URL": url, "ASSET_PROJECT": "p"}, nullcontext),
    "project": (lambda url: {"ASSET_SERVER_URL": url}, lambda: holdfast.project("p")),
    "activate": (lambda url: {"ASSET_SERVER_URL": url}, lambda: activated("p")),
}


@pytest.fixture
def shop(server, tmp_path, monkeypatch):
    """Two versions on the server, and a machine with an empty folder and a token."""
    (tmp_path / "src").mkdir()
    writer = server.open(tmp_path / "writer")
    for number in ("0.0", "0.1"):
        (tmp_path / "src" / "w.txt").write_text(number)
        with suppress(AlreadyExistsError):  # by the test before
            writer.push(tmp_path / "src", "shop/a", version=number)
    (tmp_path / "assets").mkdir()
    for name in ("HOLDFAST_STORE", "ASSET_PROJECT", "HOLDFAST_ASSETS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASSET_SERVER_URL", server.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["writer"])
    return tmp_path


@pytest.mark.parametrize("way", WAYS)
def test_manager__fetches_from_a_server(server, shop, monkeypatch, way):
    """Where the store is a project on a server, however that was said, the manager fetches from it; its answer names objects within the project."""
    environ, chosen = WAYS[way]
    for name, value in environ(server.url).items():
        monkeypatch.setenv(name, value)
    with chosen():
        manager = holdfast.AssetsManager(assets_dir=shop / "assets")
        info = manager.fetch_asset("shop/a:0", return_info=True)
    assert (info["version"], info["from_cache"], info["object_name"]) == ("0.1", False, "shop/a/0.1")
    assert (Path(info["path"]) / "w.txt").read_text() == "0.1"
    assert manager.fetch_asset("shop/a:0.0[w.txt]") == str(shop / "assets/shop/a/0.0/w.txt")
    assert manager.fetch_asset("shop/a:0.0", return_info=True)["from_cache"]
    assert manager.storage_prefix == ""
    with pytest.raises(AssetDoesNotExistError):
        manager.fetch_asset("shop/none")


def test_manager__of_a_server_refuses(server, shop, monkeypatch):
    """A prefix does not go with a project, which a manager says with what it is; a reader's token does not push."""
    monkeypatch.setenv("HOLDFAST_STORE", f"{server.url}/p")
    with pytest.raises(StorageConfigurationError, match="does not go with a server's project"):
        holdfast.AssetsManager(assets_dir=shop / "assets", storage_prefix="modelkit-assets")
    monkeypatch.setenv("HOLDFAST_STORE", "memory://x")
    with pytest.raises(StorageConfigurationError) as refused:
        holdfast.AssetsManager(assets_dir=shop / "assets")
    assert "a project on a server" in (refused.value.hint or "")
    monkeypatch.setenv("HOLDFAST_TOKEN", server.tokens["reader"])
    with pytest.raises(AccessError):
        StorageProvider.of_store(f"{server.url}/p").new(str(shop / "src"), "shop/refused", "0.0")


def test_provider__of_a_server(server, shop):
    """Such a provider lists, tells metas, pushes and downloads, and can be pickled."""
    provider = pickle.loads(pickle.dumps(StorageProvider.of_store(f"{server.url}/p")))  # noqa: S301 - our own
    provider.new(str(shop / "src"), "shop/b", "1.0")
    with pytest.raises(AssetAlreadyExistsError):
        provider.new(str(shop / "src"), "shop/b", "1.0")
    provider.update(str(shop / "src"), "shop/b", "1.1")
    assert dict(provider.iterate_assets())["shop/b"] == ["1.1", "1.0"]
    assert provider.get_asset_meta("shop/b", "1.0")["contents"] == ["w.txt"]
    there = provider.download("shop/b", "1.0", str(shop / "assets"))["path"]
    assert (Path(there) / "w.txt").read_text() == "0.1"
