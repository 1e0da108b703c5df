"""docs/seeds/002.md names a test for every sentence; and the seed's own examples, run."""

from __future__ import annotations

import json
import re
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast import AssetsManager
from holdfast.modelkit.remote import StorageProvider
from tests.docs.seed_table import check, rows_of
from tests.unit.modelkit_cases import *  # noqa: F403 - fixtures

ROWS = rows_of("002")
#: The sentences, list items and keys of the seed.
SENTENCES = 42


def test_table__is_whole():
    """Every sentence of the seed stands in the first table, and each of the nineteen contradictions in the second."""
    differences = [row for row in ROWS if re.match(r"\| D\d+ \|", row)]
    assert [row.split("|")[1].strip() for row in differences] == [f"D{number}" for number in range(1, 20)]
    assert len(ROWS) - len(differences) == SENTENCES


@pytest.mark.parametrize("row", ROWS, ids=[row[2:40] for row in ROWS])
def test_table__names_tests_that_exist(row):
    """Every row says what is done, and names tests, each of which is a function in its file with a sentence of its own."""
    check(row)


def test_assets_dir(assets_dir, monkeypatch):
    """The manager of the seed's example works under its folder, and ASSETS_DIR names one too."""
    assert AssetsManager(assets_dir=str(assets_dir)).assets_dir == str(assets_dir)
    monkeypatch.setenv("ASSETS_DIR", str(assets_dir))
    assert str(AssetsManager().assets_dir) == str(assets_dir)


def test_specifications(manager, provider, tree):
    """The three forms of a specification, with the seed's own versions and a name of many pieces."""
    name = "asset_category/some/more/asset_name"
    provider.new(str(tree), name, "1.2")
    for version in ("1.10", "1.9", "2.0", "10.0"):
        provider.update(str(tree), name, version)
    found = [manager.fetch_asset(spec, return_info=True)["version"] for spec in (f"{name}:1.10", f"{name}:1", name)]
    assert found == ["1.10", "1.10", "10.0"]


def test_objects(provider, bucket, tree, file):
    """The objects of a file and of a directory lie where the seed says, and nothing else beside our own records."""
    provider.new(str(file), "category/file", "1.0")
    provider.new(str(tree), "category/tree", "1.0")
    root = bucket / "modelkit-assets"
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith(".holdfast/")} == {
        *("category/file.versions", "category/file/1.0.meta", "category/file/1.0"),
        *("category/tree.versions", "category/tree/1.0.meta"),
        *("category/tree/1.0/a.txt", "category/tree/1.0/sub/b.txt"),
    }
    assert (root / "category/file/1.0").read_bytes() == file.read_bytes()


def test_meta(provider, bucket, tree, file):
    """The meta has the date of the push, whether it is a directory, and a hash of the content."""
    provider.new(str(tree), "a", "0.0")
    provider.update(str(tree), "a", "0.1")
    provider.update(str(file), "a", "0.2")
    metas = [json.loads((bucket / f"modelkit-assets/a/0.{number}.meta").read_bytes()) for number in range(3)]
    assert [meta["is_directory"] for meta in metas] == [True, True, False]
    assert metas[0]["hash"] == metas[1]["hash"] != metas[2]["hash"]
    dates = [datetime.fromisoformat(meta["push_date"]) for meta in metas]
    assert dates == sorted(dates)
    assert abs((datetime.now(UTC) - dates[0]).total_seconds()) < 3600


def test_archive(manager, provider, bucket, tree):
    """A directory pushed as tar.gz is one archive in the store and a directory again once it is fetched."""
    provider.new(str(tree), "a", "0.0", layout="tar.gz")
    with tarfile.open(bucket / "modelkit-assets/a/0.0", "r:gz") as archive:
        assert sorted(archive.getnames()) == ["a.txt", "sub", "sub/b.txt"]
    assert (Path(manager.fetch_asset("a")) / "sub/b.txt").read_text() == "bb"


def test_versions(provider, bucket, tree):
    """The versions object holds the list, newest first by number, and nothing else."""
    provider.new(str(tree), "a", "0.9")
    for version in ("0.10", "0.2", "1.0"):
        provider.update(str(tree), "a", version)
    stored = json.loads((bucket / "modelkit-assets/a.versions").read_bytes())
    assert stored == {"versions": ["1.0", "0.10", "0.9", "0.2"]}


@pytest.mark.parametrize("address", ["s3://bucket/some/prefix", "gcs://bucket/some/prefix", "file://{bucket}"])
def test_addresses(bucket, address):
    """An address is provider, bucket, prefix; the seed's three words for the provider are understood."""
    made = StorageProvider.of_store(address.format(bucket=bucket), "some/prefix")
    assert made.driver.bucket == ("bucket" if "{" not in address else str(bucket))
    assert made.get_object_name("category/name", "1.0") == "some/prefix/category/name/1.0"
