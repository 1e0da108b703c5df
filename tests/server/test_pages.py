"""What the pages show of a project: assets, versions, files and differences; and that nothing of an asset is ever run."""

from __future__ import annotations

import html
import re
import struct
import zlib
from urllib.parse import unquote

import pytest

import holdfast
from holdfast.server.pages import browsing, showing
from tests.server.conftest import serving

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
LAYOUTS = {"packs": "nlp/bert", "tree": "nlp/tree"}
#: A name that tells a terminal that what was pasted has ended.
ESCAPE = "escape \x1b[201~.txt"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)


def png(side: int) -> bytes:
    """A grey picture."""
    rows = zlib.compress((b"\0" + bytes([128]) * side) * side)
    parts = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


FILES = {
    "README.md": b"# A model\n",
    "empty": b"",
    "long.txt": b"0123456789abcdef" * 5000,
    "picture.txt": png(32),
    "page.html": EVIL.encode(),
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(2)</script></svg>",
    "not.png": b"<html>\x89PNG\r\n\x1a\n<script>alert(1)</script>",
    "weights.bin": bytes(range(256)) * 2000,
    "large.png": png(8)[:8] + bytes(4 << 20),
    f"x{EVIL.replace('/', '-')}.txt": b"named badly\n",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server whose project has assets in every layout, and browsers of its people."""
    folder = tmp_path_factory.mktemp("site")
    with serving(folder) as server:
        server.folder.mkdir(parents=True, exist_ok=True)
        repo = holdfast.open(f"file://{server.folder}", assets_dir=folder / "assets")
        model = folder / "model"
        model.mkdir()
        for name, data in FILES.items():
            (model / name).write_bytes(data)
        repo.push(model, "nlp/tree", layout="tree")
        repo.push(model, "nlp/archive", layout="tar.gz")
        repo.push(model / "README.md", "file", message="just a file")
        (model / ESCAPE).write_bytes(b"\x1b]0;title\x07")
        repo.push(model, "nlp/bert", message="first", labels={"stage": "draft"})
        (model / "new.txt").write_bytes(b"new")
        (model / "README.md").write_bytes(b"# A better model\n")
        repo.push(model, "nlp/bert", message=f"second {EVIL}", labels={"k": EVIL}, alias="stable")
        (model / "more.txt").write_bytes(b"more")
        repo.push(model, "nlp/bert", message="by mistake")
        repo.remove("nlp/bert:0.2")
        for name in ("root", "reader", "keeper", "stranger"):
            server.session(name, name)
        yield server


def shown(site, page, /, *, status=200, **query):
    """The text of a page below the project."""
    answer = site.page(f"/projects/p{page}", params=query)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.text


def names_in(text):
    """The assets that a page leads to."""
    return [unquote(each) for each in re.findall(r"/asset\?name=([^\"]+)\"", text)]


def version_of(name):
    return {"name": name, "version": "0.0"}


def test_start(site):
    """The server's first page leads to the projects, and shows those that one has a role in."""
    assert site.page("/", None).headers["location"] == "/projects"
    assert 'href="/projects/p"' in site.page("/projects").text
    assert 'href="/projects/p"' not in site.page("/projects", "stranger").text


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/signin", {}),
        ("/projects", {}),
        ("/tokens", {}),
        ("/projects/p", {}),
        ("/projects/p/asset", {"name": "nlp/bert"}),
        ("/projects/p/version", version_of("nlp/bert")),
        ("/projects/p/file", version_of("nlp/bert") | {"path": "README.md"}),
        ("/projects/p/nothing", {}),
        ("/projects/q", {}),
    ],
)
def test_headers(site, path, query):
    """Every page forbids all but its own scripts and styles, being framed, sniffed and kept."""
    headers = site.page(path, **({"params": query} if query else {})).headers
    if path.endswith("nothing"):
        assert headers["content-type"].startswith("application/json")  # no page at all
        return
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "same-origin"


def test_pages__run_nothing_of_their_own(site):
    """No page has a script or style within, or an attribute that is one, or loads anything from elsewhere."""
    for text in (
        shown(site, ""),
        shown(site, "/asset", name="nlp/bert"),
        shown(site, "/version", name="nlp/bert", version="0.1"),
    ):
        assert re.findall(r"<script(?! src=\"/static/[a-z.]+\?[0-9a-f]+\" defer></script>)", text) == []
        assert re.findall(r"<[^>]*\s(?:on\w+|style)=", text) == []
        assert re.findall(r"(?:src|href|action|hx-get)=\"(?!/)", text) == []


def test_static(site):
    """Script and style come from the package, with their types, and nothing else does."""
    found = re.findall(r'"(/static/[^"]+)"', shown(site, ""))
    assert len(found) == 4
    for path in found:
        answer = site.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "immutable" in answer.headers["cache-control"]
    for name in ("routes.py", "..%2Frouting.py", "%2e%2e"):
        assert site.client.get(f"/static/{name}").status_code == 404


def test_assets__list_search_pages(site, monkeypatch):
    """Assets are listed page by page with what they are, and found by words of names, messages and labels."""
    text = shown(site, "")
    assert all(f">{name}</a>" in text for name in ("file", "nlp/archive", "nlp/bert", "nlp/tree"))
    assert "just a file" in text
    for words, names in {
        "bert": {"nlp/bert"},
        "stage=draft": {"nlp/bert"},
        "nlp tree": {"nlp/tree"},
        "none": set(),
    }.items():
        assert set(names_in(shown(site, "", q=words))) == names
    monkeypatch.setattr(browsing, "_ASSETS", 3)
    first = shown(site, "")
    following = html.unescape(re.search(r'id="more"><a class="button" href="([^"]+)"', first)[1])
    second = site.page(following).text
    assert "nlp/tree" not in first
    assert names_in(second) == ["nlp/tree"]


def test_asset(site):
    """An asset shows its versions, newest first, with sizes, messages, authors and aliases, but for removed ones."""
    text = shown(site, "/asset", name="nlp/bert")
    assert re.findall(r"version=(0\.\d)\"", text) == ["0.1", "0.0"]
    assert "by mistake" not in text
    assert "first" in text
    assert text.count("MiB") == 2
    assert '<span class="alias">stable</span> is 0.1' in text
    assert "asset --store https://testserver.local/p fetch nlp/bert" in html.unescape(text)
    shown(site, "/asset", name="nlp/none", status=404)


@pytest.mark.parametrize("name", ["nlp/bert", "nlp/tree", "nlp/archive", "file"])
def test_version(site, name):
    """A version shows its size, who pushed it and when, its hash, and its files with their sizes, in every layout."""
    text = html.unescape(shown(site, "/version", name=name, version="0"))
    assert "blake3:" in text
    assert "README.md" in text
    assert f"fetch {name}:0." in text
    if name == "nlp/bert":
        assert "labels" in text.lower()
        assert "one=0.0&other=0.1" in text


def test_version__files_in_pages(site, monkeypatch):
    """The files of a version come page by page."""
    monkeypatch.setattr(browsing, "_FILES", 4)
    url, seen = "/projects/p/version?name=nlp/bert&version=0.0", 0
    while url:
        text = site.page(url).text
        seen += text.count('<td class="path">')
        more = re.search(r'id="more"><a class="button" href="([^"]+)"', text)
        url = html.unescape(more[1]) if more else None
    assert seen == len(FILES) + 1


def test_diff(site):
    """Two versions are compared: what is new, what is gone, what changed."""
    text = shown(site, "/diff", name="nlp/bert", one="0.0", other="0.1")
    assert "Added (1)" in text
    assert "Changed (1)" in text
    assert "new.txt" in text
    assert "Removed (1)" in shown(site, "/diff", name="nlp/bert", one="0.1", other="0.0")
    assert "They are the same" in shown(site, "/diff", name="nlp/bert", one="0.1", other="0.1")
    shown(site, "/diff", name="nlp/bert", one="0.0", other="9.9", status=404)


@pytest.mark.parametrize("name", LAYOUTS.values())
def test_file__text(site, name):
    """Text is shown escaped, its first 64 KiB; what is no text has no preview."""
    at = version_of(name)
    assert '<pre class="text"># A model' in shown(site, "/file", **at, path="README.md")
    long = shown(site, "/file", **at, path="long.txt")
    assert long.count("0123456789abcdef") == showing.TEXT // 16
    assert "The first 64 KiB of 78.1 KiB" in long
    assert "The file is empty" in shown(site, "/file", **at, path="empty")
    assert "No preview" in shown(site, "/file", **at, path="weights.bin")
    for evil in ("page.html", "drawing.svg"):
        text = shown(site, "/file", **at, path=evil)
        assert FILES[evil].decode() in html.unescape(text)
        assert "<script>alert" not in text
        assert "<svg" not in text
    shown(site, "/file", **at, path="none.txt", status=404)
    shown(site, "/file", **at, path="../../secret", status=404)


@pytest.mark.parametrize("name", LAYOUTS.values())
def test_image(site, name):
    """An image is one by its first bytes, whatever it is called; HTML, SVG and what is too large never come as images."""
    at = version_of(name)
    assert "<img " in shown(site, "/file", **at, path="picture.txt")
    answer = site.page("/projects/p/image", params=at | {"path": "picture.txt"})
    assert answer.content == FILES["picture.txt"]
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    for path in ("page.html", "drawing.svg", "not.png", "large.png", "README.md", "empty"):
        text = shown(site, "/image", status=400, **at, path=path)
        assert "<script>alert" not in text
    assert "No preview" in shown(site, "/file", **at, path="large.png")


@pytest.mark.parametrize("name", LAYOUTS.values())
def test_download(site, name):
    """Any file is an attachment of no type, byte for byte, that no browser may make more of."""
    for path, data in FILES.items():
        answer = site.page("/projects/p/download", params=version_of(name) | {"path": path})
        assert answer.content == data
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment; filename=")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert re.fullmatch(
            r"attachment; filename=\"[A-Za-z0-9._ -]+\"; filename\*=UTF-8''[\w.%~-]+",
            answer.headers["content-disposition"],
        )


def test_file__of_a_file_and_an_archive(site):
    """An asset that is a file is shown as one; a file inside of an archive is not read, and the page says what to do."""
    assert "# A model" in shown(site, "/file", **version_of("file"), path="README.md")
    assert "archive" in shown(site, "/file", status=501, **version_of("nlp/archive"), path="README.md")


def test_names_and_messages_are_text(site):
    """What people wrote into names, messages and labels is shown as they wrote it, and is never more than text."""
    bad = next(name for name in FILES if "alert" in name)
    at = {"name": "nlp/bert", "version": "0.1"}
    pages = [
        shown(site, ""),
        shown(site, "/asset", name="nlp/bert"),
        shown(site, "/version", **at),
        shown(site, "/file", **at, path=bad),
        shown(site, "/file", status=404, **at, path=EVIL),
        shown(site, "", q=EVIL),
        shown(site, "/asset", status=400, name=EVIL),
        shown(site, "/diff", status=400, name="nlp/bert", one=EVIL, other="0.1"),
        site.page("/signin", None, params={"to": f"/{EVIL}"}).text,
    ]
    for text in pages:
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    assert all(f"second {EVIL}" in html.unescape(text) for text in pages[:3])
    assert bad in html.unescape(pages[3])


def test_commands__of_names_for_terminals(site):
    """A path that a terminal would obey is in no command that one copies."""
    assert "data-copy" not in shown(site, "/file", **version_of("nlp/bert"), path=ESCAPE)
    quoted = shown(site, "/file", **version_of("nlp/bert"), path=next(name for name in FILES if "alert" in name))
    assert "fetch &#39;nlp/bert:0.0[x&lt;script&gt;" in quoted


def test_damaged(site, tmp_path):
    """Damaged bytes are neither shown nor taken for whole: the preview says so, the download breaks."""
    path = site.folder / "nlp/tree/0.0/README.md"
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(good.upper())
    try:
        at = version_of("nlp/tree") | {"path": "README.md"}
        assert "does not match its digest" in shown(site, "/file", status=502, **at)
        content = b""
        try:
            content = site.page("/projects/p/download", params=at).content
        except Exception as error:
            content = str(error).encode()
        assert good.upper() not in content
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/asset", {}),
        ("/asset", {"name": "../x"}),
        ("/asset", {"name": "a\0b"}),
        ("/asset", {"name": "n" * 10_000}),
        ("/version", {"name": "nlp/bert", "version": "0.0[x]"}),
        ("/version", {"name": "nlp/bert", "version": "%2e%2e"}),
        ("/version", {"name": "nlp/bert:0", "version": "0"}),
        ("/version", {"name": "nlp/bert", "version": "7.7", "after": "\0"}),
        ("/file", {"name": "nlp/bert", "version": "0.0", "path": "a\0b"}),
        ("/file", {"name": "nlp/bert", "version": "0.0", "path": "\ud800"}),
        ("/download", {"name": "nlp/bert", "version": "0.2", "path": "README.md"}),
        ("/image", {"name": ".holdfast", "version": "store.json", "path": "x"}),
        ("/diff", {"name": "nlp/bert", "one": "", "other": ""}),
    ],
)
def test_bad_input(site, path, query):
    """Whatever is asked for, the answer is a page that says what is wrong."""
    query = {name: value.encode("utf-8", "surrogatepass") for name, value in query.items()}
    answer = site.page(f"/projects/p{path}", params=query)
    assert answer.status_code in (400, 404), answer.text
    assert answer.headers["content-security-policy"] == POLICY


def test_other_project(site):
    """A project that one has no role in and one that does not exist are the same refusal, and tell no name."""
    site.project("secret-plans")
    refusals = {
        site.page(f"/projects/{name}{path}", "reader").content
        for name in ("secret-plans", "none-such")
        for path in ("", "/asset?name=a", "/members", "/download?name=a&version=1&path=b")
    }
    assert len(refusals) == 1
    assert b"secret" not in refusals.pop()


def test_nowhere(site):
    """Where there is no page a browser is told so by one, with the way back; a program gets what the API answers."""
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/nope", "/projects/p/nope", "/nope/<script>"):
        answer = site.client.get(path, headers=browser)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "Not found" in answer.text
        assert 'href="/projects"' in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert site.client.get(path).json()["error"]["kind"] == "not_found"
    assert site.client.get("/api/v1/nope", headers=browser).json()["error"]["kind"] == "not_found"
