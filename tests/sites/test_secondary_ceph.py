"""Copies of buckets over Ceph's gateway, whose two accounts stand for two regions."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from holdfast.config import load
from holdfast.sites.buckets import open_bucket
from holdfast.sites.replicated import Orders
from holdfast.sites.replicating import Replica
from holdfast.sites.sides import WHOLE
from holdfast.sites.values import MaxDelete, StoreSettings
from holdfast.transfer.engine import Engine
from tests.mount.forwarder import forwarded
from tests.services.base import make_bucket

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.store.base import Store


class Regions:
    """A site whose images are in a bucket of one account, with a place for copies that another account owns."""

    def __init__(self, site, ceph) -> None:
        self.site = site
        self.bucket = f"www-example-com-assets-{uuid.uuid4().hex[:8]}"
        self.place = f"copies-{uuid.uuid4().hex[:8]}"
        make_bucket(ceph.env, self.bucket)
        make_bucket(ceph.second, self.place)
        self.endpoint = ceph.env["AWS_ENDPOINT_URL"]
        self.keys = {"one": self.file("one", ceph.env), "two": self.file("two", ceph.second)}
        site.write(
            "persist_assets_to_cloud = 1\nlease = '10s'\n",
            stores=(),
            after=(
                f"[[stores]]\n{self.store('one', ceph.fresh_store())}"
                f"[[copies]]\n{self.store('two', f's3://{self.place}/site')}"
                f'[buckets]\nimages = "{self.bucket}"\n'
            ),
        )
        self.first = self.opened("one", f"s3://{self.bucket}")
        self.copy = self.opened("two", f"s3://{self.place}/site")

    def file(self, name: str, env: dict[str, str]) -> Path:
        path = self.site.folder / f"{name}.keys"
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        path.write_text("".join(f"{each}={env[each]}\n" for each in names))
        path.chmod(0o600)
        return path

    def store(self, name: str, url: str) -> str:
        return f'url = "{url}"\nendpoint = "{self.endpoint}"\nregion = "us-east-1"\ncredentials = "{self.keys[name]}"\n'

    def opened(self, name: str, url: str) -> Store:
        return open_bucket(StoreSettings(url, self.endpoint, "us-east-1", credentials=str(self.keys[name])))

    def media(self, store: Store, prefix: str = "") -> dict[str, bytes]:
        """By key; but for a marker of a folder, which is listed and is none."""
        cut = len(prefix) + 1 if prefix else 0
        return {
            info.key[cut:]: bytes(store.get(info.key).data)
            for info in store.list(prefix)
            if info.key != "empty" and not info.key[cut:].startswith(".holdfast/")
        }

    def both(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        return self.media(self.first), self.media(self.copy, self.bucket)

    def replicate(self, *args: str):
        return self.site.site("replicate", *args, AWS_ALLOW_HTTP="true")[0]


@pytest.fixture
def regions(site, ceph) -> Regions:
    """The site, with three objects in its bucket; one of them is in parts."""
    regions = Regions(site, ceph)
    for key, data in {"logo.png": b"logo", "é/ü b+c.jpg": b"photo", "film.mp4": os.urandom(WHOLE + 5)}.items():
        _write(regions.first, key, data)
    return regions


def _write(store: Store, key: str, data: bytes) -> None:
    import io

    if len(data) > WHOLE:
        store.put_file(key, io.BytesIO(data), len(data), lambda _: None)
    else:
        store.put(key, data)


def test_two_accounts__the_whole_way(regions):
    """Between two accounts, objects go both ways, what is deleted is put aside, and a run with nothing to do compares nothing."""
    done = regions.replicate()
    assert (done["state"], done["sent"], done["failed"]) == ("whole", 3, [])
    first, copy = regions.both()
    assert first == copy
    again = regions.replicate()
    assert (again["state"], again["sent"], again["compared"], again["bytes"]) == ("whole", 0, 0, 0)
    _write(regions.first, "logo.png", b"logo 2")
    _write(regions.first, "new.png", b"new")
    _write(regions.copy, f"{regions.bucket}/from-there.png", b"there")
    regions.first.delete("film.mp4")
    done = regions.replicate()
    assert (done["sent"], done["brought"], done["removed"], done["kept"]) == (2, 1, 1, 2)
    first, copy = regions.both()
    assert first == copy
    assert set(first) == {"logo.png", "new.png", "from-there.png", "é/ü b+c.jpg"}
    kept = {each["key"]: each["size"] for each in regions.site.site("replicate", "--deleted", AWS_ALLOW_HTTP="true")}
    assert kept == {"logo.png": 4, "film.mp4": WHOLE + 5}
    regions.site.ok("site", "replicate", "--restore", "film.mp4", AWS_ALLOW_HTTP="true")
    assert regions.first.head("film.mp4").size == WHOLE + 5


def test_deleted_right_after__is_deleted_there(regions):
    """An object that is deleted before the second run goes from the copy too: what a write did not tell is not taken for a change."""
    regions.replicate()
    regions.first.delete("logo.png")
    assert regions.replicate()["removed"] == 1
    first, copy = regions.both()
    assert first == copy
    assert "logo.png" not in first


def test_overwritten_by_others__is_never_written_over(regions):
    """What a web server writes at the very moment at which an older object would come back is left alone."""
    replica = Replica(regions.first, regions.copy, regions.bucket, engine=Engine(4), two_way=True)
    orders = Orders(two_way=True, limit=MaxDelete(100, 1000))
    replica.run(orders)
    _write(regions.copy, f"{regions.bucket}/logo.png", b"from the copy")
    again = Replica(regions.first, regions.copy, regions.bucket, engine=Engine(4), two_way=True)
    put = regions.first.put

    def late(key, data, mode):
        if key == "logo.png":
            put("logo.png", b"a web server's")
        return put(key, data, mode)

    regions.first.put = late  # another process's write, right between our last look and ours
    done = again.run(orders)
    del regions.first.put
    assert (done.moving, done.brought) == (1, 0)
    assert bytes(regions.first.get("logo.png").data) == b"a web server's"
    last = Replica(regions.first, regions.copy, regions.bucket, engine=Engine(4), two_way=True).run(orders)
    assert last.state == "whole"
    first, copy = regions.both()
    assert first == copy
    aside = [info.key for info in regions.copy.list(".holdfast") if info.key.endswith("logo.png")]
    assert {bytes(regions.copy.get(key).data) for key in aside} >= {b"logo"}


def test_folder_markers__of_mounters_are_passed_over(regions, ceph):
    """The empty objects that s3fs makes for folders stop nothing, and the run is whole."""
    import botocore.session

    client = botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=ceph.env["AWS_ENDPOINT_URL"],
        aws_access_key_id=ceph.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ceph.env["AWS_SECRET_ACCESS_KEY"],
    )
    client.put_object(Bucket=regions.bucket, Key="empty/", Body=b"")
    client.put_object(Bucket=regions.bucket, Key="empty.txt", Body=b"")
    client.close()
    done = regions.replicate()
    assert done["state"] == "whole"
    copy = regions.both()[1]
    assert copy["empty.txt"] == b""
    assert regions.replicate()["bytes"] == 0


def test_secret__is_nowhere(regions, ceph):
    """The secret keys are in no output and in nothing that lies in the stores."""
    ended = regions.site.ok("site", "replicate", "-vv", AWS_ALLOW_HTTP="true")
    shown = regions.site.ok("site", "show", "--json")
    for env in (ceph.env, ceph.second):
        assert env["AWS_SECRET_ACCESS_KEY"] not in ended.out + ended.err + shown.out
    assert load({}).profile is None


def test_status__of_a_silent_store(regions):
    """A store of copies that is silent is asked once by a look at how all copies are, and each is told to have failed."""
    regions.replicate()
    with forwarded(regions.endpoint) as forwarder:
        text = (regions.site.folder / "site.toml").read_text()
        before, copies = text.split("[[copies]]")
        copies = copies.replace(regions.endpoint, f"http://127.0.0.1:{forwarder.port}")
        before = before.replace("[[stores]]", 'directories_to_mount = "images:media"\n[[stores]]', 1)
        (regions.site.folder / "site.toml").write_text(f"{before}[[copies]]{copies}")
        forwarder.silent = True
        ended = regions.site("site", "replicate", "--status", "--json", AWS_ALLOW_HTTP="true")
    assert [each["state"] for each in ended.json] == ["failed", "failed"]
    assert all("does not answer" in each["reasons"][0] for each in ended.json)
    assert forwarder.taken <= 2  # one question, asked twice
