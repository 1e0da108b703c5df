"""Policies: what each role may do on S3 is what it needs, and nothing that would harm a backup."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import wiring
from holdfast.config import load
from holdfast.errors import AccessError
from tests.mount.live import require_fuse
from tests.services.base import make_bucket, s3_client
from tests.sites.attachments import fleet_of
from tests.sites.test_attach import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

S3 = "arn:aws:s3:::"


def allowed(policy: dict[str, Any], action: str) -> list[str]:
    """What a policy allows this action on."""
    return [place for each in policy["Statement"] if action in each["Action"] for place in each["Resource"]]


def printed(site, text="") -> dict[str, Any]:
    """The policies of a site whose store lies on S3."""
    site.write(f"persist_assets_to_cloud = 1\n{text}", stores=(), after='[[stores]]\nurl = "s3://keep/site"\n')
    return site.ok("site", "init", "--policies", "--json").json


def test_policies__of_each_role(site):
    """Only the build machine makes buckets; no role but it writes media and backups alike, and none deletes a version."""
    found = printed(site, 'directories_to_mount = "images:docs"\n')
    assert set(found) == {"deploy", "web", "backup", "replicate"}
    media = [f"{S3}www-example-com-assets-images", f"{S3}www-example-com-assets-docs"]
    assert allowed(found["deploy"], "s3:CreateBucket") == media
    assert [role for role in found if allowed(found[role], "s3:CreateBucket")] == ["deploy"]
    assert allowed(found["backup"], "s3:PutObject") == [f"{S3}keep/site/*"]
    written = allowed(found["web"], "s3:PutObject")
    assert {f"{each}/*" for each in media} <= set(written)
    own = [each for each in written if each.startswith(f"{S3}keep/")]
    assert own
    assert all(each.startswith(f"{S3}keep/site/.holdfast/") for each in own)
    for policy in found.values():
        deleted = [each for each in allowed(policy, "s3:DeleteObject") if each.startswith(f"{S3}keep/")]
        assert all(each.startswith(f"{S3}keep/site/.holdfast/") and "packs" not in each for each in deleted)


def test_policies__as_text(site):
    """For people each is printed below what it is for."""
    printed(site)
    text = site.ok("site", "init", "--policies").out
    assert "# web: every web server" in text
    assert '"2012-10-17"' in text


def test_policies__no_s3(site):
    """For a store that is none on S3 there are none, and the error says so."""
    assert "no bucket on S3" in site.fails(2, "init", "--policies")["message"]


def of_bucket(policy: dict[str, Any], bucket: str, user: str) -> dict[str, Any]:
    """The part of a policy that is about one bucket, as that bucket's own policy for a user."""
    mine = [f"{S3}{bucket}", f"{S3}{bucket}/"]

    def statements() -> Iterator[dict[str, Any]]:
        for each in policy["Statement"]:
            places = [place for place in each["Resource"] if place == mine[0] or place.startswith(mine[1])]
            if places:
                yield {**each, "Resource": places, "Principal": {"AWS": [f"arn:aws:iam:::user/{user}"]}}

    return {**policy, "Statement": list(statements())}


def test_policies__a_web_server_with_these_rights_alone(ceph, tmp_path):
    """With the rights of its policy alone a web server attaches, serves, purges and detaches, and can neither change nor remove a backup."""
    require_fuse()
    name = f"policies-{tmp_path.name[-8:].lower().replace('_', '-')}x"
    make_bucket(ceph.env, name)
    owner = type(ceph)("ceph", f"s3://{name}", ceph.env)
    with fleet_of(owner, tmp_path) as fleet:
        policy = fleet.build.ok("site", "init", "--policies", "--json").json["web"]
        with s3_client(ceph.env) as client:
            for bucket in (name, f"{fleet.site}-assets-images"):
                client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(of_bucket(policy, bucket, "second")))
        fleet.variables.clear()
        fleet.variables.update(ceph.second)
        web = fleet.server("web1")
        web.site("attach")
        assert web.images() == IMAGES
        (web.webroot / "images/new.jpg").write_bytes(b"new")
        assert web.site("status")["ok"]
        assert web.site("purge")["copies"][0]["kept"] == 0
        web.site("restore", "hourly", "--to", str(tmp_path / "restored"))
        web.site("detach")
        settings = load({}, {**ceph.second, "HOME": str(tmp_path)})
        store = wiring.open_store(fleet.store_url, settings)
        version = next(info.key for info in store.list("sites") if info.key.endswith(".meta"))
        with pytest.raises(AccessError):
            store.put(version, b"{}")
        with pytest.raises(AccessError):
            store.delete(version)
        assert fleet.media() == {**IMAGES, "new.jpg": b"new"}
