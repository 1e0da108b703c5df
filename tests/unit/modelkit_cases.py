"""What the tests of the drop-in share: a folder as bucket, a provider on it, something to push, and a driver of one's own."""

from __future__ import annotations

import os
import shutil

import pytest

from holdfast.modelkit import errors
from holdfast.modelkit.drivers.abc import StorageDriver
from holdfast.modelkit.manager import AssetsManager
from holdfast.modelkit.remote import StorageProvider


class FolderDriver(StorageDriver):
    """A driver as a user writes one: a folder, no conditions, a listing that ignores path borders."""

    def __init__(self, settings):
        super().__init__(settings)
        self.calls = []

    @staticmethod
    def build_client(client_configuration):  # noqa: ARG004
        return None

    def _path(self, name):
        return os.path.join(self.bucket, *name.split("/"))

    def iterate_objects(self, prefix=None):
        for folder, _, names in os.walk(self.bucket):
            for name in names:
                found = os.path.relpath(os.path.join(folder, name), self.bucket)
                if found.startswith(prefix or ""):
                    yield found

    def upload_object(self, file_path, object_name):
        self.calls.append(object_name)
        os.makedirs(os.path.dirname(self._path(object_name)), exist_ok=True)
        shutil.copyfile(file_path, self._path(object_name))

    def download_object(self, object_name, destination_path):
        if not os.path.isfile(self._path(object_name)):
            raise errors.ObjectDoesNotExistError(driver=self, bucket=self.bucket, object_name=object_name)
        shutil.copyfile(self._path(object_name), destination_path)

    def delete_object(self, object_name):
        os.unlink(self._path(object_name))

    def exists(self, object_name):
        return os.path.isfile(self._path(object_name))

    def get_object_uri(self, object_name, sub_part=None):
        return self._path(object_name)


@pytest.fixture
def bucket(tmp_path):
    """A folder as bucket."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    return folder


@pytest.fixture
def provider(bucket):
    """A provider on it."""
    return StorageProvider(provider="local", bucket=str(bucket))


@pytest.fixture
def assets_dir(tmp_path):
    """An empty assets folder."""
    folder = tmp_path / "assets"
    folder.mkdir()
    return folder


@pytest.fixture
def manager(assets_dir, provider):
    """A manager of that folder and that provider."""
    return AssetsManager(str(assets_dir), storage_provider=provider)


@pytest.fixture
def local_manager(assets_dir):
    """A manager without a store."""
    return AssetsManager(str(assets_dir))


@pytest.fixture
def tree(tmp_path):
    """A directory to push."""
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "b.txt").write_text("bb")
    return folder


@pytest.fixture
def file(tmp_path):
    """A file to push."""
    path = tmp_path / "data.bin"
    path.write_bytes(b"data" * 100)
    return path
