"""Stores of other packages, found by the scheme of their URLs through entry points."""

from __future__ import annotations

import sys

import pytest

from holdfast import wiring
from holdfast.config import load
from holdfast.errors import UsageError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that installs a package which claims a scheme."""

    def install(name, scheme="other", body="from holdfast.store.memory import MemoryStore as opened"):
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[holdfast.stores]\n{scheme} = {name}:open_store\n")
        (folder / f"{name}.py").write_text(f"{body}\ndef open_store(url, settings):\n    return opened(url)\n")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return install


def test_open_store__of_another_package(package, tmp_path):
    """A store of a package is opened by its scheme, pushed to and fetched from."""
    package("one")
    settings = load({"store": "other://place/x/", "assets_dir": tmp_path}, {"HOME": str(tmp_path)})
    repository = wiring.open_settings(settings)
    source = tmp_path / "source"
    source.write_bytes(b"x")
    repository.push(source, "a/b")
    assert repository.fetch("a/b").read_bytes() == b"x"


def test_open_store__two_for_one_scheme(package, tmp_path):
    """Two packages for one scheme are an error that names both."""
    package("one")
    package("two")
    settings = load({"store": "other://place"}, {"HOME": str(tmp_path)})
    with pytest.raises(UsageError, match=r"one:open_store \(one\) and two:open_store \(two\)"):
        wiring.open_store("other://place", settings)


def test_open_store__cannot_be_imported(package, tmp_path):
    """A package that cannot be imported is named, with the reason."""
    package("broken", body="import no_such_module")
    settings = load({"store": "other://place"}, {"HOME": str(tmp_path)})
    with pytest.raises(UsageError, match=r"\(broken\), which cannot be imported: .*no_such_module"):
        wiring.open_store("other://place", settings)


def test_open_store__built_in(package, tmp_path):
    """A built-in scheme stays what it is, whatever a package claims."""
    package("one", scheme="memory", body="opened = None")
    settings = load({"store": "memory://m"}, {"HOME": str(tmp_path)})
    assert type(wiring.open_store("memory://m", settings)).__name__ == "MemoryStore"


def test_load__no_such_scheme(tmp_path):
    """A scheme that nobody has is refused."""
    with pytest.raises(UsageError, match="unknown scheme"):
        load({"store": "nobody://x"}, {"HOME": str(tmp_path)})
