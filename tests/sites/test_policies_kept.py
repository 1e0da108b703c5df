"""Policies of a site's roles, kept by Ceph's gateway while each role does its work; what they say beside that."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from holdfast.errors import AccessError
from holdfast.sites.buckets import open_bucket
from holdfast.sites.plan import resolve
from holdfast.sites.policies import policies
from holdfast.sites.values import CopySettings, SiteSettings, StoreSettings
from tests.services.base import make_bucket, s3_client
from tests.sites.test_policies import S3, allowed, of_bucket


def documents(*stores: str, copies: tuple[str, ...] = (), two_way: str = "") -> dict[str, Any]:
    """The policies of a site with these stores and copies."""
    settings = SiteSettings(
        site_url="www.example.com",
        build="hourly",
        application="joomla",
        persist=True,
        stores=tuple(StoreSettings(url) for url in stores),
        copies=tuple(CopySettings(StoreSettings(url), two_way=url == two_way) for url in copies),
    )
    plan = resolve(settings).plan
    assert plan is not None
    return policies(plan)


def test_policies__every_store_and_copy():
    """Backups go to every store, so their rights do; copies are the replicator's, which reads no backup; web servers read what they may show."""
    found = documents("s3://near/site", "s3://far", "file:///srv", copies=("s3://copies/site",))
    assert allowed(found["backup"], "s3:PutObject") == [f"{S3}near/site/*", f"{S3}far/*"]
    assert f"{S3}copies/site/*" in allowed(found["replicate"], "s3:DeleteObject")
    assert f"{S3}near/site/*" not in allowed(found["replicate"], "s3:GetObject")
    read = [place for role in ("deploy", "backup") for place in allowed(found[role], "s3:GetObject")]
    assert not any("copies" in place for place in read)
    bucket = "www-example-com-assets-images"
    shown = [f"{S3}copies/site/{bucket}/*", f"{S3}copies/site/.holdfast/copies/{bucket}/pairs"]
    assert [place for place in allowed(found["web"], "s3:GetObject") if "copies" in place] == shown
    assert not any("copies" in place for place in allowed(found["web"], "s3:PutObject"))


def test_policies__a_copy_that_goes_both_ways():
    """Web servers may write to the copies that go both ways, and to no other."""
    found = documents("s3://near/site", copies=("s3://copies/site", "s3://both"), two_way="s3://both")
    changed = [place for place in allowed(found["web"], "s3:DeleteObject") if "copies" in place or "both" in place]
    assert changed == [f"{S3}both/www-example-com-assets-images/*"]


def test_policies__a_prefix_is_no_pattern():
    """No sign in the name of a store's folder is a pattern in a policy."""
    assert allowed(documents("s3://keep/a*b$")["backup"], "s3:PutObject") == [f"{S3}keep/a${{*}}b${{$}}/*"]


class Accounts:
    """A site on Ceph whose first account has the buckets; the second does the work, with a role's rights and no other."""

    def __init__(self, site, ceph) -> None:
        self.site, self.ceph = site, ceph
        token = uuid.uuid4().hex[:8]
        self.name = f"w{token}.example.com"
        self.bucket, self.media, self.copies = (
            f"backups-{token}",
            f"w{token}-example-com-assets-images",
            f"copies-{token}",
        )
        for bucket in (self.bucket, self.copies):
            make_bucket(ceph.env, bucket)

    def write(self, text: str = "", *, copies: bool = False) -> None:
        """The settings of the site."""
        after = f'[[stores]]\nurl = "s3://{self.bucket}/site"\nendpoint = "{self.ceph.env["AWS_ENDPOINT_URL"]}"\n'
        if copies:
            after += after.replace("[[stores]]", "[[copies]]").replace(self.bucket, self.copies)
        self.site.write(f'site_url = "{self.name}"\n{text}', stores=(), after=after)

    def first(self, *args: str):
        """The program with the rights of who owns the buckets."""
        return self.site.site(*args, **self.ceph.env)

    def second(self, *args: str):
        """The program with what was granted."""
        return self.site.site(*args, **self.ceph.second)

    def grant(self, role: str) -> None:
        """What the role's policy says of each bucket, as that bucket's own policy for the second account."""
        policy = self.first("init", "--policies")[role]
        with s3_client(self.ceph.env) as client:
            existing = {each["Name"] for each in client.list_buckets()["Buckets"]}
            for bucket in existing & {self.bucket, self.media, self.copies}:
                document = of_bucket(policy, bucket, "second")
                if document["Statement"]:
                    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))

    def store(self, bucket: str):
        """A bucket as the second account has it."""
        keys = {name: self.ceph.second[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        endpoint = self.ceph.second["AWS_ENDPOINT_URL"]
        return open_bucket(StoreSettings(f"s3://{bucket}", endpoint, "us-east-1", keys=keys))


@pytest.fixture
def accounts(site, ceph, monkeypatch) -> Accounts:
    """The site, its settings written."""
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    accounts = Accounts(site, ceph)
    accounts.write()
    return accounts


def refused(act) -> None:
    """The store refuses it."""
    with pytest.raises(AccessError):
        act()


def test_backup__with_its_rights_alone(accounts):
    """With the backup role's policy backups are made, listed, drilled and restored; nothing can be deleted, nor written elsewhere."""
    assert accounts.site.error(6, "site", "backup", "--period", "hourly", **accounts.ceph.second)
    accounts.grant("backup")
    assert accounts.second("backup", "--period", "hourly")["state"] == "created"
    (accounts.site.webroot / "new").write_bytes(b"new")
    assert accounts.second("backup", "--period", "hourly")["state"] == "created"
    assert len(accounts.second("backups")) == 2
    assert accounts.second("drill", "hourly")[0]["ok"]
    assert accounts.second("restore", "hourly", "--to", "back")["files"] > 0
    store = accounts.store(accounts.bucket)
    key = next(info.key for info in store.list("site/sites") if info.key.endswith(".meta"))
    refused(lambda: store.delete(key))
    refused(lambda: store.put("elsewhere", b"x"))


def test_webserver__with_its_rights_alone(accounts):
    """With a web server's policy webroots are synced, and media written and deleted; backups stay as they are."""
    accounts.first("backup", "--period", "hourly")
    accounts.write("persist_assets_to_cloud = 1\nsync_webroots = 1\n")
    accounts.first("deploy", "--from", "hourly")
    accounts.grant("web")
    assert accounts.second("restore", "hourly", "--to", "back")["files"] > 0
    accounts.second("sync")
    (accounts.site.webroot / "page.php").write_bytes(b"page")
    accounts.second("sync")
    media = accounts.store(accounts.media)
    media.put("new.jpg", b"x" * 1000)
    assert bytes(media.get("new.jpg").data) == b"x" * 1000
    assert "new.jpg" in {info.key for info in media.list("")}
    media.delete("new.jpg")
    store = accounts.store(accounts.bucket)
    own = (f"site/.holdfast/sites/{accounts.name.replace('.', '-')}/", "site/.holdfast/probe/")
    kept = [info.key for info in store.list("site") if not info.key.startswith(own)]
    assert len(kept) >= 5
    for key in kept:
        refused(lambda key=key: store.delete(key))
    refused(lambda: store.put("site/sites/x", b"x"))


def test_deployer__with_its_rights_alone(accounts):
    """With the deployer's policy on the stores the buckets of media are made and filled from a backup, and what they held is kept."""
    accounts.first("backup", "--period", "hourly")
    accounts.write("persist_assets_to_cloud = 1\n")
    accounts.grant("deploy")
    report = accounts.second("deploy", "--from", "hourly")["buckets"][0]
    assert (report["bucket"], report["state"]) == (accounts.media, "created")
    accounts.second("detach", "--offline")
    accounts.store(accounts.media).put("logo.png", b"another")
    again = accounts.second("deploy", "--from", "hourly", "--overwrite", accounts.media, "--accept-loss")["buckets"][0]
    assert again["state"] != "adopted"
    store = accounts.store(accounts.bucket)
    refused(lambda: store.delete(next(iter(store.list("site/sites"))).key))


def test_replicator__with_its_rights_alone(accounts):
    """With the replicator's policy copies are made, kept and brought back; of the stores it reads no backup and writes none."""
    accounts.first("backup", "--period", "hourly")
    accounts.write("persist_assets_to_cloud = 1\n", copies=True)
    accounts.first("deploy", "--from", "hourly")
    accounts.grant("replicate")
    done = accounts.second("replicate")[0]
    assert done["state"] == "whole", done
    accounts.store(accounts.media).delete("logo.png")
    done = accounts.second("replicate", "--allow-deletes")[0]
    assert done["state"] == "whole", done
    assert accounts.second("replicate", "--restore", "logo.png")
    store = accounts.store(accounts.bucket)
    name = f"site/sites/{accounts.name.replace('.', '-')}/hourly.versions"
    refused(lambda: store.get(name))
    refused(lambda: store.put(name, b"x"))
