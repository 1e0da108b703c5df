"""The rule by which a web server hides what is ours, as docs/sites.md prints it, in a real nginx."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.formats.layout import SITE_MARK
from holdfast.sites.initial import initial_text
from tests.services.base import HOST, free_port, processes, program, wait_until
from tests.sites.test_walk import _CONFIG, answer, open_folder

__all__ = ["open_folder"]

DOCS = Path(__file__).parents[2] / "docs/sites.md"
SERVER = "    server {{ listen {host}:{port}; root {root}; {rule} location ~ \\.json$ {{ }} location / {{ }} }}\n"


@pytest.mark.parametrize(
    "path", [SITE_MARK, f"images/{SITE_MARK}", "images/.holdfast.x.sync.part", "images//.holdfast/site.json"]
)
def test_rule__hides_the_mark(open_folder, path):
    """With the rule of docs/sites.md nginx serves nothing of ours that lies below a webroot, the mark of a mounted bucket first of all."""
    (rule,) = re.findall(r"```nginx\n(.*?)\n```", DOCS.read_text("utf-8"))
    webroot, shown = open_folder / "html", open_folder / "html/images/photo.json"
    for file in (webroot / path, shown):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    port = free_port()
    server = SERVER.format(host=HOST, port=port, root=webroot, rule=rule)
    (open_folder / "nginx.conf").write_text(f"user root;\n{_CONFIG.format(folder=open_folder, servers=server)}")
    with processes("nginx", open_folder / "run") as group:
        group.spawn([program("nginx", Path("/usr/sbin")), "-c", open_folder / "nginx.conf"])
        wait_until(lambda: answer(port, "images/photo.json") is not None, 20, "nginx to answer")
        assert answer(port, "images/photo.json") == (200, b"{}")
        for asked in (path, path.replace("holdfast", "%68oldfast"), f"{path}?a=b"):
            assert answer(port, asked) == (404, b"")


def test_init__writes_the_rule():
    """A new site.toml names the rule for the web server just as the documents do."""
    text = initial_text(site_url="www.example.com", webroot="/var/www/html", application="none", store="s3://b/p")
    for kind in ("nginx", "apache"):
        (rule,) = re.findall(rf"```{kind}\n(.*?)\n```", DOCS.read_text("utf-8"))
        assert rule in text
