"""Settings printed for offload plugins: read back here as their programs would read them. The plugins themselves are not run."""

from __future__ import annotations

import json
import re

import pytest

from holdfast.errors import UsageError
from holdfast.sites.plan import resolve
from holdfast.sites.plugins import PLUGINS, export_plugin
from holdfast.sites.values import SiteSettings, StoreSettings

#: A text of PHP between single quotes.
STRING = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)


def exported(name, *, store=None, **settings):
    """The settings of a plugin for a site."""
    given = {"site_url": "www.example.com", "build": "hourly", "application": name} | settings
    given["stores"] = (store or StoreSettings("s3://example-holdfast/site", region="eu-west-1"),)
    plan = resolve(SiteSettings(**given)).plan
    assert plan is not None
    return export_plugin(plan, name, given.get("buckets", {}))


def strings(text):
    """The texts of a PHP file, and what is left of it without them."""
    plain = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return [re.sub(r"\\(.)", r"\1", each) for each in STRING.findall(plain)], STRING.sub("S", plain)


def table(text):
    """The array of AS3CF_SETTINGS."""
    inside = text.partition("serialize( array(\n")[2].partition("\n) ) );")[0]
    rows = re.findall(r"^\t'([a-z0-9-]+)' => (.+),$", inside + "\n", re.MULTILINE)
    return {name: STRING.sub(r"\1", value) for name, value in rows}


def test_wordpress__at_amazon():
    """The plugin is told the bucket that a deployment would fill, with no prefix, and nothing of another endpoint."""
    found = exported("wordpress")
    rows = table(found.text)
    assert found.text.startswith("<?php\n")
    assert rows["bucket"] == found.bucket == "www-example-com-assets-wp-content-uploads"
    assert (rows["provider"], rows["region"], rows["enable-object-prefix"]) == ("aws", "eu-west-1", "false")
    assert rows["object-versioning"] == "false"
    assert "add_filter" not in found.text
    assert "Not run by the tests" in found.text


def test_wordpress__elsewhere():
    """At another provider its endpoint, region and host are given by the plugin's filters, in balanced PHP."""
    found = exported("wordpress", store=StoreSettings("s3://b/p", "https://fra1.example.net", "fra1"))
    texts, rest = strings(found.text)
    assert {"https://fra1.example.net", "fra1.example.net", "fra1"} <= set(texts)
    assert re.findall(r"add_filter\( S,", rest) == ["add_filter( S,"] * 4
    for opening, closing in ("()", "{}", "[]"):
        assert rest.count(opening) == rest.count(closing)
    assert table(found.text)["force-https"] == "true"
    plain = exported("wordpress", store=StoreSettings("s3://b/p", "http://10.0.0.1:7480", "x"))
    assert table(plain.text)["force-https"] == "false"
    assert "return false;" in plain.text


@pytest.mark.parametrize("hostile", ["https://x');system('id');//", "https://x\\", "https://x\\'.phpinfo().'"])
def test_wordpress__no_setting_adds_code(hostile):
    """Settings printed for a plugin hold no secret, and no value of a setting becomes code in them."""
    keys = {"AWS_ACCESS_KEY_ID": "AKIASECRET", "AWS_SECRET_ACCESS_KEY": "very/secret+='"}
    kind = exported("wordpress", store=StoreSettings("s3://b/p", "https://x", "r"))
    found = exported("wordpress", store=StoreSettings("s3://b/p", hostile, "r", keys=keys))
    assert strings(found.text)[1] == strings(kind.text)[1]
    assert hostile in strings(found.text)[0]
    for name in PLUGINS:
        text = exported(name, store=StoreSettings("s3://b/p", hostile, "r", keys=keys)).text
        assert "AKIASECRET" not in text
        assert "very/secret" not in text
    assert table(found.text)["secret-access-key"] == "(string) getenv( MEDIA_SECRET_ACCESS_KEY )"


def test_joomla__is_its_parameters():
    """The text is JSON of the plugin's own fields: one connection to the bucket, whose keys are left to be typed in."""
    found = exported("joomla", store=StoreSettings("s3://b/p", "https://fra1.example.net", "fra1"))
    connection = json.loads(found.text)["connections"]["connections0"]
    assert connection["bucket"] == "www-example-com-assets-images"
    assert (connection["type"], connection["customendpoint"]) == ("custom", "https://fra1.example.net")
    assert (connection["region"], connection["custom_region"], connection["pathaccess"]) == ("custom", "fra1", "path")
    assert connection["accesskey"] == connection["secretkey"] == connection["directory"] == ""
    assert any("not run" in note for note in found.notes)
    amazon = json.loads(exported("joomla").text)["connections"]["connections0"]
    assert (amazon["type"], amazon["region"], amazon["pathaccess"]) == ("s3", "eu-west-1", "virtualhost")


def test_plugin__bucket_of_the_settings():
    """A bucket that the settings choose for the directory is the plugin's, too."""
    found = exported("joomla", persist=True, buckets={"images": "our-images"})
    assert json.loads(found.text)["connections"]["connections0"]["bucket"] == "our-images"


@pytest.mark.parametrize(
    ("name", "settings", "part"),
    [
        ("drupal", {"application": "drupal"}, "there is no plugin for"),
        ("joomla", {"application": "wordpress"}, "runs wordpress, not joomla"),
        ("joomla", {"persist": True, "directories": ("WHOLE-WEBROOT",)}, "no use for WHOLE-WEBROOT"),
        ("joomla", {"persist": True, "directories": ("merge=images2",)}, "spread over several buckets"),
        ("joomla", {"store": StoreSettings("gs://b/p")}, "needs a bucket of S3"),
        ("wordpress", {"application": "none"}, "nor for none"),
    ],
)
def test_plugin__that_cannot_be(name, settings, part):
    """A plugin of another application, and media that it cannot put into one bucket of S3, are refused by name."""
    with pytest.raises(UsageError) as caught:
        exported(name, **settings)
    assert part in caught.value.message


def test_show__plugin(site):
    """show --plugin prints the settings alone on stdout, and what is left to do on stderr."""
    site.write(stores=(), after='[[stores]]\nurl = "s3://b/p"\nendpoint = "https://s3.example.net"\n')
    ended = site.ok("site", "show", "--plugin", "joomla")
    assert json.loads(ended.out)["connections"]
    assert "accesskey" in ended.err
    assert site.site("show", "--plugin", "joomla")["text"] == ended.out
    assert site.fails(2, "show", "--plugin", "wordpress")["hint"] == "--plugin joomla"
