"""Signing in to the pages and out, forms and their marks, and what people do there with tokens, members and the audit log."""

from __future__ import annotations

import html
import re

import pytest
from litestar import Request
from sqlalchemy import select

from holdfast.server import accounts, memberships, projects, sessions
from holdfast.server.access import Role, token_digest
from holdfast.server.pages import signing
from holdfast.server.pages.signing import START, local_path
from holdfast.server.tables import tokens
from tests.server.conftest import PASSWORD, cookie, serving


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server on which everybody may do something."""
    with serving(tmp_path_factory.mktemp("site")) as server:
        for name in ("root", "reader", "keeper", "stranger"):
            server.session(name, name)
        yield server


def visit(site):
    """The sign-in form as somebody new gets it: the cookie and the mark."""
    answer = site.page("/signin", None)
    return answer.cookies["__Host-holdfast-visit"], mark_of(answer.text)


def mark_of(text):
    return re.search(r'name="form_mark" value="([0-9a-f]+)"', text)[1]


def sign_in(site, name="root", password=PASSWORD, *, to="/tokens", headers=None, **fields):
    """Send the form of a visit; the answer."""
    text, mark = visit(site)
    data = {"form_mark": mark, "name": name, "password": password, "to": to} | fields
    headers = {"Cookie": f"__Host-holdfast-visit={text}"} | (headers or {})
    return site.client.post("/signin", data=data, headers=headers, follow_redirects=False)


def session_in(answer):
    """The session that an answer gives to a browser."""
    return re.search(r"__Host-holdfast=(hfs_[\w-]+);", answer.headers["set-cookie"])[1]


def test_sign_in(site):
    """A name and its password give a session, in a cookie that scripts, other sites and plain HTTP do not get; kept as a digest alone."""
    answer = sign_in(site)
    assert (answer.status_code, answer.headers["location"]) == (303, "/tokens")
    said = next(each for each in answer.headers.get_list("set-cookie") if each.startswith("__Host-holdfast="))
    assert all(f"; {word.lower()}" in said.lower() for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"))
    assert "domain" not in said.lower()
    session = session_in(answer)
    with site.service.database.read() as connection:
        row = connection.execute(select(tokens).where(tokens.c.digest == token_digest(session))).one()
    assert row.expires - row.created == 12 * 3600
    assert session not in str(row)
    assert "root" in site.page("/projects", session).text


def test_sign_in__wrong(site):
    """A wrong password and a name that nobody has are one answer, without a session, and too many are refused at once."""
    answers = [sign_in(site, name, "wrong password") for name in ("keeper", "nobody")]
    texts = [re.sub(r"value=\"[^\"]*\"", "", answer.text) for answer in answers]
    assert texts[0] == texts[1]
    assert all(answer.status_code == 403 and "__Host-holdfast=" not in str(answer.headers) for answer in answers)
    statuses = [sign_in(site, "keeper", "wrong password").status_code for _ in range(10)]
    assert statuses[-1] == 429
    site.service.attempts.forget("address unknown")


@pytest.mark.parametrize(
    "to",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/\nx", "/é", "/\t/evil"],
)
def test_sign_in__leads_here_alone(to):
    """After signing in one is on a page of this server, whatever the link said."""
    assert local_path(to) == START


def test_sign_in__page_that_was_asked_for(site):
    """Whoever is not signed in gets the form in place of any page, and the page afterwards."""
    answer = site.page("/projects/p/asset?name=nlp%2Fbert", None)
    assert answer.status_code == 401
    to = html.unescape(re.search(r'name="to" value="([^"]+)"', answer.text)[1])
    assert to == "/projects/p/asset?name=nlp%2Fbert"
    assert sign_in(site, to=to).headers["location"] == to
    assert site.page("/projects", None, headers={"HX-Request": "true"}).headers["hx-redirect"] == "/signin"


@pytest.mark.parametrize("path", ["/signout", "/tokens", "/tokens/revoke", "/projects/p/members"])
def test_mark(site, path):
    """A form without the mark of its session, with another session's, or sent by another site, changes nothing."""
    fields = {"label": "planted", "whom": "stranger", "role": "reader", "token": "x"}
    other = sessions.form_mark(site.sessions["root"])
    for answer in (
        site.submit(path, "keeper", fields | {"form_mark": ""}),
        site.submit(path, "keeper", fields | {"form_mark": other}),
        site.submit(path, "keeper", fields | {"form_mark": "é"}),
        site.submit(path, "keeper", fields, headers={"Sec-Fetch-Site": "cross-site"}),
        site.submit(path, "keeper", fields, headers={"Sec-Fetch-Site": "same-site"}),
    ):
        assert answer.status_code == 403, answer.text
        assert "this form is too old" in answer.text
    assert site.page("/tokens", "keeper").status_code == 200
    assert "planted" not in site.page("/tokens", "keeper").text
    assert "stranger" not in site.page("/projects/p/members", "keeper").text


def test_mark__of_signing_in(site):
    """The sign-in form too is answered only where it was shown: nobody is signed in to somebody else's account unawares."""
    text, mark = visit(site)
    _, other = visit(site)
    data = {"name": "root", "password": PASSWORD}
    for headers, given in (({}, mark), ({"Cookie": f"__Host-holdfast-visit={text}"}, other)):
        answer = site.client.post("/signin", data=data | {"form_mark": given}, headers=headers, follow_redirects=False)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert sign_in(site, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{}", "application/json", 400),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 400),
        (b"a=%ff%fe", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=1" for _ in range(60)), "application/x-www-form-urlencoded", 400),
        (b"a=" + bytes(2 << 20), "application/x-www-form-urlencoded", 413),
    ],
)
def test_form__cannot_be_read(site, body, kind, status):
    """What is no form, or too large a one, is refused."""
    headers = cookie(site.sessions["keeper"]) | {"Content-Type": kind}
    assert site.client.post("/tokens", content=body, headers=headers).status_code == status


def test_sign_out(site):
    """Signing out ends the session itself, not only its cookie, and no other one."""
    one, other = (session_in(sign_in(site)) for _ in range(2))
    answer = site.submit("/signout", one)
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin")
    assert '__Host-holdfast=""' in answer.headers["set-cookie"]
    assert site.page("/projects", one).status_code == 401
    assert site.page("/projects", other).status_code == 200


def test_session__ends_at_the_next_request(site):
    """Losing a role, another password, being shut out, and time end what a session may, at its next request."""
    site.account("guest", Role.READER)
    site.session("guest", "guest")
    assert site.page("/projects/p", "guest").status_code == 200
    with site.service.database.write() as connection:
        memberships.set_role(connection, projects.find_project(connection, "p").id, "guest", None)
    assert site.page("/projects/p", "guest").status_code == 403
    assert site.page("/projects", "guest").status_code == 200
    with site.service.database.write() as connection:
        accounts.set_disabled(connection, "guest", disabled=True)
    assert site.page("/projects", "guest").status_code == 401
    with site.service.database.write() as connection:
        accounts.set_disabled(connection, "guest", disabled=False)
        accounts.set_password(connection, "guest", PASSWORD)
    assert site.page("/projects", "guest").status_code == 401
    assert site.page("/projects", session_in(sign_in(site, "guest"))).status_code == 200


def test_tokens(site):
    """A token is made and shown once, works as far as it was made for, and ends when it is revoked; others' cannot be."""
    made = site.submit("/tokens", "keeper", {"label": "ci <b>", "days": "7", "project": "p", "role": "reader"})
    assert made.status_code == 200
    token = re.search(r'id="token">(hft_[\w-]+)<', made.text)[1]
    assert site.get("names", token).status_code == 200
    assert site.post("aliases", token, json={"name": "x", "changes": {}}).status_code == 403
    listed = site.page("/tokens", "keeper").text
    assert token not in listed
    assert "ci &lt;b&gt;" in listed
    number = next(row["id"] for row in site.get("/api/v1/tokens", "keeper").json() if row["label"] == "ci <b>")
    assert site.submit("/tokens/revoke", "reader", {"token": number}).status_code == 404
    assert site.get("names", token).status_code == 200
    assert site.submit("/tokens/revoke", "keeper", {"token": number}).status_code == 303
    assert site.get("names", token).status_code == 401


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"days": "0"}, 400),
        ({"days": "x"}, 400),
        ({"days": "999"}, 400),
        ({"role": "owner"}, 400),
        ({"project": "none"}, 403),
    ],
)
def test_tokens__refused(site, fields, status):
    """A life, role or project that is none makes no token."""
    answer = site.submit("/tokens", "keeper", {"label": "refused"} | fields)
    assert answer.status_code == status
    assert "hft_" not in answer.text
    assert "refused" not in site.page("/tokens", "keeper").text


def test_sessions__listed_and_ended(site):
    """One sees where one is signed in, apart from one's tokens, and ends a session elsewhere."""
    session = session_in(sign_in(site, headers={"User-Agent": "Elsewhere <i>"}))
    text = site.page("/tokens", "root").text
    assert "Elsewhere &lt;i&gt;" in text
    assert "Elsewhere" not in str(site.get("/api/v1/tokens", "root").json())
    with site.service.database.read() as connection:
        asked = select(tokens.c.id).where(tokens.c.digest == token_digest(session))
        number = connection.execute(asked).scalar_one()
    assert site.submit("/tokens/revoke", "root", {"token": number}).status_code == 303
    assert site.page("/projects", session).status_code == 401


def test_members(site):
    """An admin of the project sees its members, gives a role and takes it away; it counts at once, and others may not."""
    assert ">reader<" in site.page("/projects/p/members", "keeper").text
    assert site.page("/projects/p/members", "reader").status_code == 403
    give = {"whom": "stranger", "role": "reader"}
    assert site.submit("/projects/p/members", "reader", give).status_code == 403
    assert site.page("/projects/p", "stranger").status_code == 403
    assert site.submit("/projects/p/members", "keeper", give).status_code == 303
    assert site.page("/projects/p", "stranger").status_code == 200
    assert site.submit("/projects/p/members", "keeper", {"whom": "stranger"}).status_code == 303
    assert site.page("/projects/p", "stranger").status_code == 403
    assert site.submit("/projects/p/members", "keeper", {"whom": "<script>"}).status_code == 404
    assert site.submit("/projects/p/members", "keeper", {"whom": "reader", "role": "king"}).status_code == 400


def test_audit(site):
    """Server admins read the audit log, page by page; what was done on the pages stands in it, and nobody else sees it."""
    sign_in(site, "<script>alert(1)</script>", "wrong password")
    text = site.page("/audit", "root").text
    assert "login.refused" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert "hfs_" not in text
    assert 'href="/audit"' not in site.page("/projects", "keeper").text
    assert site.page("/audit", "keeper").status_code == 403
    assert site.page("/audit?before=1", "root").status_code == 200
    assert site.page("/audit?before=x", "root").status_code == 400


def test_welcome__from_another_site(site):
    """Whoever was led here by another site while signing in gets a page that leads on, for a redirect would carry no cookie."""
    scope = {"type": "http", "scheme": "https", "client": ("192.0.2.1", 1), "headers": [], "state": {}}
    request = Request(scope | {"litestar_app": site.client.app, "method": "GET", "path": "/", "query_string": b""})
    with site.service.database.read() as connection:
        number = accounts.find_account(connection, "keeper").id
    answer = signing.welcome(request, site.service, number, "keeper", "/tokens", far=True)
    assert (answer.status_code, answer.headers["Content-Security-Policy"][:18]) == (200, "default-src 'none'")
    assert '<meta http-equiv="refresh" content="0; url=/tokens">' in answer.content
    session = next(each for each in answer.cookies if each.key == "__Host-holdfast").value
    assert site.page("/tokens", session).status_code == 200
