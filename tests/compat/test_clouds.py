"""The drop-in's drivers on real servers: S3 (Ceph, LocalStack), Azure (Azurite), and our own idea of GCS."""

from __future__ import annotations

import uuid

import pytest

from holdfast.errors import AccessError, ObjectNotFoundError
from holdfast.modelkit import errors
from holdfast.modelkit.manager import AssetsManager
from holdfast.modelkit.remote import StorageProvider

PROVIDERS = {"ceph": "s3", "localstack": "s3", "azurite": "az", "gcs_double": "gcs"}


@pytest.fixture(params=PROVIDERS)
def provider(request, service_environment):
    """A provider on a prefix of this test's own."""
    service = request.getfixturevalue(request.param)
    service_environment(service)
    bucket = service.store_url.partition("://")[2]
    return StorageProvider(provider=PROVIDERS[request.param], bucket=bucket, prefix=f"p-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def tree(tmp_path):
    """A directory with a small file and one of several parts."""
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "small").write_text("small")
    (folder / "sub" / "large").write_bytes(bytes(range(256)) * 80_000)
    return folder


def test_provider__push_and_fetch(provider, tree, tmp_path):
    """new, update, listing and fetching work on every cloud (F28, F40)."""
    provider.new(str(tree), "cat/name", "0.0")
    provider.update(str(tree / "small"), "cat/name", "0.1")
    assert list(provider.iterate_assets()) == [("cat/name", ["0.1", "0.0"])]
    (tmp_path / "assets").mkdir()
    manager = AssetsManager(tmp_path / "assets", storage_provider=provider)
    info = manager.fetch_asset("cat/name:0.0", return_info=True)
    assert info["object_name"] == f"{provider.prefix}/cat/name/0.0"
    assert (tmp_path / "assets/cat/name/0.0/sub/large").read_bytes() == (tree / "sub/large").read_bytes()
    assert manager.fetch_asset("cat/name", return_info=True)["version"] == "0.1"
    with pytest.raises(errors.AssetAlreadyExistsError):
        provider.update(str(tree), "cat/name", "0.0")


def test_driver__verbs(provider, tree, tmp_path):
    """Every verb of a driver works on every cloud, and a missing object leaves no file (F41, F42)."""
    driver, prefix = provider.driver, provider.prefix
    driver.upload_object(str(tree / "sub/large"), f"{prefix}/a/large")
    driver.upload_object(str(tree / "small"), f"{prefix}-2/small")
    assert list(driver.iterate_objects(prefix)) == [f"{prefix}/a/large"]
    assert driver.exists(f"{prefix}/a/large")
    assert not driver.exists(f"{prefix}/a/nothing")
    driver.download_object(f"{prefix}/a/large", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == (tree / "sub/large").read_bytes()
    with pytest.raises(errors.ObjectDoesNotExistError):
        driver.download_object(f"{prefix}/a/nothing", str(tmp_path / "stray"))
    assert not list(tmp_path.glob("stray*"))
    driver.delete_object(f"{prefix}/a/large")
    assert not driver.exists(f"{prefix}/a/large")


def test_s3__refused_is_not_missing(ceph, service_environment, tmp_path):
    """A wrong secret is refused access, never "does not exist", and a bucket that is not there says so (W16)."""
    service_environment(ceph)
    bucket = ceph.store_url.removeprefix("s3://")
    key = ceph.env["AWS_ACCESS_KEY_ID"]
    wrong = StorageProvider(provider="s3", bucket=bucket, aws_access_key_id=key, aws_secret_access_key="wrong")
    for call in (
        lambda: wrong.driver.exists("a"),
        lambda: wrong.get_versions_info("a"),
        lambda: AssetsManager(tmp_path, storage_provider=wrong).fetch_asset("a:1.0"),
    ):
        with pytest.raises(errors.StorageDriverError) as caught:
            call()
        assert isinstance(caught.value, AccessError)
        assert not isinstance(caught.value, ObjectNotFoundError)
    with pytest.raises(errors.BucketDoesNotExistError):
        StorageProvider(provider="s3", bucket="there-is-no-such-bucket").driver.exists("a")
