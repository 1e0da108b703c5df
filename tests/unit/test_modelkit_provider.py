"""StorageProvider and the drivers: settings, environment, pushes, listings, drivers of one's own (features F28 to F49)."""

from __future__ import annotations

import json
import pickle
import warnings
from types import SimpleNamespace

import pytest

from holdfast.errors import AccessError, ObjectNotFoundError, UnsupportedError
from holdfast.modelkit import errors
from holdfast.modelkit.drivers.abc import StorageDriver, StorageDriverSettings
from holdfast.modelkit.drivers.azure import AzureStorageDriver
from holdfast.modelkit.drivers.gcs import GCSStorageDriver
from holdfast.modelkit.drivers.local import LocalStorageDriver
from holdfast.modelkit.drivers.retry import log_after_retry, retry_policy
from holdfast.modelkit.drivers.s3 import S3StorageDriver
from holdfast.modelkit.manager import AssetsManager
from holdfast.modelkit.remote import NoConfiguredProviderError, StorageProvider, UnknownDriverError
from holdfast.modelkit.unprotected import UnprotectedPushWarning
from tests.unit.modelkit_cases import *  # noqa: F403 - fixtures
from tests.unit.modelkit_cases import FolderDriver

# settings


def test_provider__environment(bucket, monkeypatch):
    """Provider, bucket, prefix and timeout come from the environment where no argument says otherwise (F37, F40)."""
    monkeypatch.setenv("MODELKIT_STORAGE_PROVIDER", "local")
    monkeypatch.setenv("MODELKIT_STORAGE_BUCKET", str(bucket))
    monkeypatch.setenv("MODELKIT_STORAGE_PREFIX", "some/prefix")
    monkeypatch.setenv("MODELKIT_STORAGE_TIMEOUT_S", "7")
    made = StorageProvider()
    assert (made.driver.bucket, made.prefix, made.timeout) == (str(bucket), "some/prefix", 7)
    assert StorageProvider(prefix="other", timeout_s=8).prefix == "other"
    monkeypatch.setenv("MODELKIT_STORAGE_TIMEOUT_S", "soon")
    with pytest.raises(ValueError, match="MODELKIT_STORAGE_TIMEOUT_S"):
        StorageProvider()


def test_provider__none_or_unknown(monkeypatch):
    """No provider and an unknown one are typed errors, the second with the names there are (F49)."""
    with pytest.raises(NoConfiguredProviderError):
        StorageProvider()
    with pytest.raises(UnknownDriverError, match="'gs'") as caught:
        StorageProvider(provider="gs", bucket="b")
    assert "gcs" in caught.value.hint


def test_provider__bad_settings(bucket, tmp_path):
    """A missing bucket is a ValueError, a missing folder a FileNotFoundError, an unknown setting refused (F49, W23)."""
    with pytest.raises(ValueError, match="no bucket"):
        StorageProvider(provider="s3")
    with pytest.raises(FileNotFoundError):
        StorageProvider(provider="local", bucket=str(tmp_path / "nothing"))
    with pytest.raises(errors.StorageConfigurationError, match="bukket"):
        StorageProvider(provider="local", bukket=str(bucket))
    with pytest.raises(ValueError, match="Azure account"):
        StorageProvider(provider="az", bucket="b")
    with pytest.raises(errors.StorageConfigurationError, match="prefix"):
        StorageProvider(provider="local", bucket=str(bucket), prefix="../out")


@pytest.mark.parametrize("provider", ["s3", "gcs", "local"])
def test_provider__client_is_refused(bucket, provider):
    """A client for a built-in driver is refused, and the error names the settings that take its place (F43)."""
    with pytest.raises(errors.StorageDriverError, match="client") as caught:
        StorageProvider(provider=provider, bucket=str(bucket), client=object())
    wanted = {"s3": "s3_endpoint", "gcs": "service_account_path", "local": "bucket"}
    assert wanted[provider] in caught.value.hint


def test_settings__bare_names_say_nothing(bucket, tmp_path, monkeypatch):
    """A bare BUCKET or LAZY_DRIVER in the environment says nothing (fault W23: it beat MODELKIT_STORAGE_BUCKET)."""
    monkeypatch.setenv("BUCKET", str(tmp_path))
    monkeypatch.setenv("LAZY_DRIVER", "true")
    monkeypatch.setenv("MODELKIT_STORAGE_BUCKET", str(bucket))
    driver = StorageProvider(provider="local").driver
    assert (driver.bucket, driver.lazy_driver) == (str(bucket), False)
    monkeypatch.setenv("MODELKIT_LAZY_DRIVER", "true")
    assert StorageProvider(provider="local").driver.lazy_driver is True
    monkeypatch.setenv("MODELKIT_LAZY_DRIVER", "0")
    assert StorageProvider(provider="local").driver.lazy_driver is False


def test_settings__s3(monkeypatch):
    """Keys, token, region, endpoint and KMS key of arguments beat those of the environment (F40, F44)."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "environment")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "environment")
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    from_environment = S3StorageDriver({"bucket": "b"}).client
    assert from_environment._settings.access_key == "environment"
    assert from_environment._settings.endpoint == "http://127.0.0.1:9"
    given = S3StorageDriver(
        {
            "bucket": "b",
            "aws_access_key_id": "k",
            "aws_secret_access_key": "s",
            "aws_session_token": "t",
            "aws_default_region": "eu-west-3",
            "s3_endpoint": "http://127.0.0.1:10",
            "aws_kms_key_id": "kms",
        }
    )
    found = given.client._settings
    assert (found.access_key, found.secret_key, found.session_token) == ("k", "s", "t")
    assert (found.region, found.endpoint, found.kms_key) == ("eu-west-3", "http://127.0.0.1:10", "kms")


def test_settings__gcs_and_azure(tmp_path, monkeypatch):
    """A service account's file and a connection string reach the store (F45)."""
    gcs = GCSStorageDriver({"bucket": "b", "service_account_path": str(tmp_path / "key.json")})
    assert gcs.client._settings.google_credentials == str(tmp_path / "key.json")
    string = "DefaultEndpointsProtocol=http;AccountName=me;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/me"
    azure = AzureStorageDriver({"bucket": "b", "connection_string": string})
    assert azure.client._settings.azure_account == "me"


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", ["local", "s3", "gcs"])
def test_drivers__pickle(bucket, name, lazy):
    """A driver, lazy or not, goes to another process, and so do provider and manager (F48)."""
    made = StorageProvider(provider=name, bucket=str(bucket) if name == "local" else "b", lazy_driver=lazy)
    copy = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert copy.driver.bucket == made.driver.bucket
    assert copy.driver.client.url == made.driver.client.url


# the local driver's verbs, which are those of every built-in one


def test_driver__verbs(bucket, tmp_path, file):
    """Upload, download, exists, iterate, delete and URI (F41); a missing object is typed and leaves no file (F42)."""
    driver = LocalStorageDriver({"bucket": str(bucket)})
    driver.upload_object(str(file), "p/a/b.bin")
    driver.upload_object(str(file), "p2/c.bin")
    assert driver.exists("p/a/b.bin")
    assert not driver.exists("p/a")
    assert sorted(driver.iterate_objects()) == ["p/a/b.bin", "p2/c.bin"]
    assert list(driver.iterate_objects("p")) == ["p/a/b.bin"]
    assert driver.get_object_uri("p/a/b.bin", "c") == str(bucket / "p/a/b.bin/c")
    driver.download_object("p/a/b.bin", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == file.read_bytes()
    with pytest.raises(errors.ObjectDoesNotExistError, match="nothing"):
        driver.download_object("nothing", str(tmp_path / "stray"))
    assert not (tmp_path / "stray").exists()
    driver.delete_object("p/a/b.bin")
    driver.delete_object("p/a/b.bin")
    assert not driver.exists("p/a/b.bin")


def test_driver__large_object(bucket, tmp_path):
    """An object of several parts goes up and comes down whole."""
    data = bytes(range(256)) * 80_000
    (tmp_path / "large").write_bytes(data)
    driver = LocalStorageDriver({"bucket": str(bucket)})
    driver.upload_object(str(tmp_path / "large"), "large")
    driver.download_object("large", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == data


def test_driver__uris():
    """URIs read as modelkit's do."""
    s3, gcs = S3StorageDriver({"bucket": "b"}), GCSStorageDriver({"bucket": "b"})
    assert s3.get_object_uri("a/1.0", "x/y") == "s3://b/a/1.0/x/y"
    assert s3.get_object_uri("a/1.0") == "s3://b/a/1.0/"
    assert gcs.get_object_uri("a/1.0", "x") == "gs://b/a/1.0/x"
    string = "AccountName=me;AccountKey=a2V5"
    assert AzureStorageDriver({"bucket": "b", "connection_string": string}).get_object_uri("a", "x") == "azfs://b/a/x"


# pushing


def test_new__objects(provider, bucket, tree, file):
    """Names and JSON of the objects are the convention's (F29, F30, F31, F32; seed 002)."""
    assert provider.new(str(tree), "cat/name", "0.0") is None
    provider.new(str(file), "cat/other.bin", "0.0")
    root = bucket / "modelkit-assets"
    assert json.loads((root / "cat/name.versions").read_bytes()) == {"versions": ["0.0"]}
    meta = json.loads((root / "cat/name/0.0.meta").read_bytes())
    assert (meta["is_directory"], meta["contents"]) == (True, ["a.txt", "sub/b.txt"])
    assert meta["hash"].startswith("blake3:")
    assert meta["push_date"].endswith("+00:00")
    assert (root / "cat/name/0.0/sub/b.txt").read_text() == "bb"
    assert (root / "cat/other.bin/0.0").read_bytes() == file.read_bytes()
    assert json.loads((root / "cat/other.bin/0.0.meta").read_bytes())["is_directory"] is False


def test_directories__never_in_packs_unless_asked_for(provider, tree, assets_dir):
    """A directory is pushed as tree into whatever store; a version in packs, which others pushed, is fetched like any other."""
    provider.new(str(tree), "b", "0.0")
    provider.repository().catalog.configure("layout", "packs")
    provider.new(str(tree), "a", "0.0")
    assert provider.get_asset_meta("a", "0.0")["holdfast"]["layout"] == "tree"
    assert provider.repository().push(tree, "a", version="0.1").layout == "packs"
    manager = AssetsManager(str(assets_dir), storage_provider=provider)
    assert manager.fetch_asset("a:0.1", return_info=True)["meta"]["holdfast"]["layout"] == "packs"
    manager.fetch_asset("a:0.0")
    one, other = ({path.name for path in (assets_dir / "a" / version).iterdir()} for version in ("0.0", "0.1"))
    assert one == other


def test_new__archive(manager, provider, bucket, tree):
    """A directory is pushed as tar.gz where that is asked for, the meta says so, and it comes back a directory (D5, D8)."""
    provider.new(str(tree), "a", "0.0", layout="tar.gz")
    assert (bucket / "modelkit-assets/a/0.0").read_bytes()[:2] == b"\x1f\x8b"
    assert provider.get_asset_meta("a", "0.0")["holdfast"]["layout"] == "tar.gz"
    assert (manager.assets_dir, manager.fetch_asset("a:0.0")) == (manager.assets_dir, f"{manager.assets_dir}/a/0.0")
    assert provider.get_asset_meta("a", "0.0")["is_directory"] is True


def test_new_and_update(provider, tree):
    """new wants an asset that is not there, update one that is; both make a version of their own (F35)."""
    with pytest.raises(errors.AssetDoesNotExistError):
        provider.update(str(tree), "a", "0.1")
    provider.new(str(tree), "a", "0.0")
    with pytest.raises(errors.AssetAlreadyExistsError):
        provider.new(str(tree), "a", "0.1")
    provider.update(str(tree), "a", "0.1")
    assert provider.get_versions_info("a") == ["0.1", "0.0"]


@pytest.mark.parametrize("version", ["weird!!/x", "1", "", "../x"])
def test_new__version_is_checked(provider, tree, bucket, version):
    """A version that is no full one is refused before anything is written (fault W25: new took anything)."""
    with pytest.raises(errors.InvalidVersionError):
        provider.new(str(tree), "a", version)
    assert not list((bucket / "modelkit-assets").glob("a*"))


def test_push__is_not_listed(provider, manager, tree):
    """push makes a version that is fetched by its full name only."""
    provider.new(str(tree), "a", "0.0")
    provider.push(str(tree), "a", "5.0")
    assert provider.get_versions_info("a") == ["0.0"]
    assert manager.fetch_asset("a:5.0").endswith("a/5.0")
    provider.update(str(tree), "a", "6.0")
    assert provider.get_versions_info("a") == ["6.0", "0.0"]


def test_dry_run(provider, bucket, tree):
    """A dry run checks and writes nothing (F36)."""
    provider.new(str(tree), "a", "0.0", dry_run=True)
    assert [path for path in bucket.rglob("*") if path.is_file()] == []
    provider.new(str(tree), "a", "0.0")
    with pytest.raises(errors.AssetAlreadyExistsError):
        provider.update(str(tree), "a", "0.0", dry_run=True)


def test_download(provider, tmp_path, tree):
    """download lays a version out below a folder and answers path and meta."""
    provider.new(str(tree), "cat/a", "0.0")
    found = provider.download("cat/a", "0.0", str(tmp_path / "to"))
    assert found["path"] == str(tmp_path / "to/cat/a/0.0")
    assert found["meta"]["push_date"].tzinfo is not None
    with pytest.raises(errors.ObjectDoesNotExistError):
        provider.download("cat/a", "0.7", str(tmp_path / "to"))


def test_iterate_assets(provider, bucket, tree):
    """All assets with their versions, newest first; one that cannot be read spoils no other (F38, W25)."""
    assert list(provider.iterate_assets()) == []
    provider.new(str(tree), "cat/a", "0.9")
    provider.update(str(tree), "cat/a", "0.10")
    provider.new(str(tree), "b", "0.0")
    (bucket / "modelkit-assets/bad.versions").write_text("no JSON")
    assert list(provider.iterate_assets()) == [("b", ["0.0"]), ("cat/a", ["0.10", "0.9"])]


def test_names(provider):
    """The three names of an asset's objects (F28, F29)."""
    assert provider.get_object_name("c/n", "1.0") == "modelkit-assets/c/n/1.0"
    assert provider.get_meta_object_name("c/n", "1.0") == "modelkit-assets/c/n/1.0.meta"
    assert provider.get_versions_object_name("c/n") == "modelkit-assets/c/n.versions"


def test_unknown(provider):
    """What is not there is a typed error (F42)."""
    for call in (lambda: provider.get_versions_info("a"), lambda: provider.get_asset_meta("a", "0.0")):
        with pytest.raises(errors.ObjectDoesNotExistError):
            call()


# drivers of one's own


@pytest.fixture
def own(bucket):
    """A provider on a driver of one's own."""
    return StorageProvider(provider=FolderDriver({"bucket": str(bucket)}))


def test_own_driver__push_order(own, tree, file):
    """Through a driver of one's own a push writes data, then meta, then versions (F33), and warns that it has no promise."""
    with pytest.warns(UnprotectedPushWarning, match="no conditional writes"):
        own.new(str(tree), "a", "0.0")
    assert own.driver.calls == [
        *("modelkit-assets/a/0.0/a.txt", "modelkit-assets/a/0.0/sub/b.txt"),
        *("modelkit-assets/a/0.0.meta", "modelkit-assets/a.versions"),
    ]
    with pytest.warns(UnprotectedPushWarning):
        own.update(str(file), "a", "0.1")
    assert own.get_versions_info("a") == ["0.1", "0.0"]


@pytest.mark.filterwarnings("ignore::holdfast.modelkit.unprotected.UnprotectedPushWarning")
def test_own_driver__rules(own, tree, file):
    """Nothing is written over, names and versions are checked, a dry run writes nothing, archives need a store of ours."""
    own.new(str(tree), "a", "0.0")
    for call, kind in (
        (lambda: own.new(str(tree), "a", "0.1"), errors.AssetAlreadyExistsError),
        (lambda: own.update(str(file), "a", "0.0"), errors.AssetAlreadyExistsError),
        (lambda: own.push(str(file), "a", "0.0"), errors.AssetAlreadyExistsError),
        (lambda: own.update(str(tree), "b", "0.0"), errors.AssetDoesNotExistError),
        (lambda: own.update(str(tree), "a", "1"), errors.InvalidVersionError),
        (lambda: own.new(str(tree), "a/1.0", "0.0"), errors.InvalidNameError),
        (lambda: own.new(str(tree), "b", "0.0", layout="tar.gz"), UnsupportedError),
        (lambda: own.new(str(tree), "b", "0.0", layout="packs"), UnsupportedError),
    ):
        with pytest.raises(kind):
            call()
    calls = list(own.driver.calls)
    own.update(str(tree), "a", "0.1", dry_run=True)
    assert own.driver.calls == calls


@pytest.mark.filterwarnings("ignore::holdfast.modelkit.unprotected.UnprotectedPushWarning")
def test_own_driver__interrupted(own, tree, monkeypatch):
    """A push that died before its last write is done by running it again (F67; fault W7)."""
    upload = own.driver.upload_object

    def dying(path, name):
        if name.endswith(".versions"):
            raise ConnectionError
        upload(path, name)

    monkeypatch.setattr(own.driver, "upload_object", dying)
    with pytest.raises(ConnectionError):
        own.new(str(tree), "a", "0.0")
    monkeypatch.undo()
    own.new(str(tree), "a", "0.0")
    assert own.get_versions_info("a") == ["0.0"]


@pytest.mark.filterwarnings("ignore::holdfast.modelkit.unprotected.UnprotectedPushWarning")
def test_own_driver__fetch_is_verified(own, bucket, assets_dir, tree):
    """What is fetched through a driver of one's own is verified as anything else (F43)."""
    own.new(str(tree), "a", "0.0")
    manager = AssetsManager(assets_dir, storage_provider=own)
    assert manager.fetch_asset("a").endswith("a/0.0")
    assert (assets_dir / "a/0.0/sub/b.txt").read_text() == "bb"
    own.update(str(tree), "a", "0.1")
    (bucket / "modelkit-assets/a/0.1/a.txt").write_text("x")
    with pytest.raises(errors.AssetFetchError):
        manager.fetch_asset("a:0.1")
    assert not (assets_dir / "a/0.1").exists()


@pytest.mark.filterwarnings("ignore::holdfast.modelkit.unprotected.UnprotectedPushWarning")
def test_own_driver__large_object(own, assets_dir, tmp_path):
    """An object of several ranges is read from one copy of it."""
    (tmp_path / "large").write_bytes(bytes(range(256)) * 80_000)
    own.new(str(tmp_path / "large"), "large", "0.0")
    got = AssetsManager(assets_dir, storage_provider=own).fetch_asset("large")
    with open(got, "rb") as file:
        assert file.read() == (tmp_path / "large").read_bytes()


def test_own_driver__assigned(provider, bucket, tree, assets_dir):
    """A driver may also be put in the place of a provider's own, as users of modelkit do."""
    provider.driver = FolderDriver({"bucket": str(bucket)})
    with pytest.warns(UnprotectedPushWarning):
        provider.new(str(tree), "a", "0.0")
    assert AssetsManager(assets_dir, storage_provider=provider).fetch_asset("a")


def test_own_driver__reads_what_a_store_of_ours_wrote(provider, own, tree, assets_dir):
    """Both ways lead to the same assets, the listing on path borders whatever the driver does."""
    provider.new(str(tree), "a", "0.0")
    StorageProvider(provider="local", bucket=provider.driver.bucket, prefix="modelkit-assets-2").new(
        str(tree), "b", "0.0"
    )
    assert list(own.iterate_assets()) == [("a", ["0.0"])]
    assert AssetsManager(assets_dir, storage_provider=own).fetch_asset("a")


def test_own_driver__settings_and_client():
    """The base class keeps settings that it does not know, takes a client, and builds one unless it is lazy (F43, F48)."""

    class Mine(FolderDriver, StorageDriver):
        def __init__(self, settings, client=None):
            StorageDriver.__init__(self, settings, client, {"url": "u"})

        @staticmethod
        def build_client(client_configuration):
            return SimpleNamespace(**client_configuration)

    settings = StorageDriverSettings(bucket="b", flavour="sour")
    assert (settings.flavour, settings.lazy_driver) == ("sour", False)
    assert Mine({"bucket": "b"}).client.url == "u"
    assert Mine({"bucket": "b"}, client="mine").client == "mine"
    lazy = Mine({"bucket": "b", "lazy_driver": True})
    assert lazy._client is None
    assert lazy.client.url == "u"


# errors and retries


class _Refusing:
    """A store that refuses everything."""

    url = "s3://b"

    def head(self, key):
        raise AccessError(f"403 for {key}", subject=key)

    get = head


def test_refused_is_not_missing(tmp_path):
    """Refused access is an error of its own, on exists and on download (F76; fault W16: False, and "does not exist")."""
    driver = S3StorageDriver({"bucket": "b"})
    driver._client = _Refusing()
    for call in (lambda: driver.exists("a"), lambda: driver.download_object("a", str(tmp_path / "got"))):
        with pytest.raises(errors.StorageAccessError) as caught:
            call()
        assert not isinstance(caught.value, ObjectNotFoundError)
    assert not (tmp_path / "got").exists()


def _state(attempt, error=None):
    outcome = SimpleNamespace(failed=error is not None, exception=lambda: error)
    return SimpleNamespace(attempt_number=attempt, outcome=outcome, fn=test_retry_policy)


def test_retry_policy(caplog):
    """The policy's five attempts are for the errors named and for broken transfers, never for "not found" (F46)."""
    policy = retry_policy(OSError)
    broken = type("ChunkedEncodingError", (Exception,), {})()
    missing = errors.ObjectDoesNotExistError("d", "b", "o")
    found = [policy["retry"](_state(1, error)) for error in (OSError(), broken, ValueError(), missing, None)]
    assert found == [True, True, False, False, False]
    assert [policy["stop"](_state(number)) for number in (1, 4, 5)] == [False, False, True]
    assert all(4 <= policy["wait"](_state(number)) <= 10 for number in range(1, 6))
    assert policy["reraise"] is True
    caplog.set_level("INFO")
    log_after_retry(_state(2))
    assert "attempt 2" in caplog.text


def test_no_warnings_without_a_driver_of_ones_own(provider, tree):
    """A push through a built-in driver says nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        provider.new(str(tree), "a", "0.0")
