"""Signing in at an OIDC provider: a real one on loopback, a browser that keeps cookies, and every way in which a token can lie."""

from __future__ import annotations

import base64
import hmac
import http.client
import json
import re
import shutil
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from litestar.testing import TestClient

from holdfast.clock import SystemClock
from holdfast.errors import UsageError
from holdfast.server import accounts, identities
from holdfast.server.migrate import open_database
from holdfast.server.service import Service
from holdfast.server.settings import load_settings
from holdfast.server.signins import local_path
from tests.server.conftest import PASSWORD, application
from tests.server.visiting import URL, Visitor
from tests.services import oidc

if TYPE_CHECKING:
    from collections.abc import Iterator

BACK = f"{URL}/login/oidc/test/back"


class Later(SystemClock):
    """A clock that a test moves on."""

    ahead = 0.0

    def since_boot(self):
        return super().since_boot() + self.ahead


class Site:
    """A server with one provider, and its database."""

    def __init__(self, service, client, provider):
        self.service, self.client, self.provider = service, client, provider

    def browser(self):
        """A browser in which nobody is signed in."""
        return Browser(self.client)

    def root(self):
        """The header of an admin's token."""
        reply = self.client.post("/api/v1/login", json={"name": "root", "password": PASSWORD})
        return {"Authorization": f"Bearer {reply.json()['token']}"}

    def invite(self, email, name=None):
        """Invite an address."""
        with self.service.database.write() as connection:
            return identities.invite(connection, email, name, self.service.now())

    def groups(self, name):
        """The groups of an account."""
        with self.service.database.read() as connection:
            return accounts.groups_of(connection, int(accounts.find_account(connection, name).id))


class Browser(Visitor):
    """A browser that goes to the provider where it is sent there: by HTTP, and to this server in the process."""

    def leave(self, to="/projects"):
        """To the provider; where that sends the browser back to."""
        sent = self.get(f"/login/oidc/test?to={to}")
        assert sent.status_code == 303, sent.text
        back = at_provider(sent.headers["location"])
        assert back.startswith(BACK)
        return back.removeprefix(URL)

    def arrive(self, to="/projects"):
        """The whole way; the page at its end."""
        return self.get(self.leave(to))


def at_provider(url):
    """Where the provider sends a browser that was sent there."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 302
        return answer.headers["Location"]
    finally:
        connection.close()


@pytest.fixture(scope="module")
def provider() -> Iterator[oidc.Provider]:
    """The provider; made anew it would need a new key each time."""
    with oidc.started([BACK]) as found:
        yield found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder of a server with an admin, whose database is at this release's state: made once."""
    folder = tmp_path_factory.mktemp("made")
    settings = load_settings({"data": folder})
    database = open_database(settings)
    with database.write() as connection:
        accounts.add_account(connection, "root", PASSWORD, 0.0, admin=True)
    database.close()
    return folder


@pytest.fixture
def site(provider, data, tmp_path):
    """A server whose only provider is that one; addresses at example.com get accounts."""
    provider.user = {"sub": "1", "email": "ann@example.com", "email_verified": True}
    provider.twist, provider.forge, provider.refuses = lambda _: None, None, None
    provider.asked.clear()
    (tmp_path / "secret").write_text(oidc.SECRET + "\n")
    described = {
        "name": "test",
        "issuer": provider.issuer,
        "client_id": oidc.CLIENT,
        "client_secret_file": str(tmp_path / "secret"),
        "domains": ["example.com"],
        "groups_claim": "teams",
        "title": "the tests",
    }
    shutil.copytree(data, tmp_path / "data")
    given = {"data": tmp_path / "data", "url": URL, "oidc": [described], "login_attempts": 100}
    service = Service(load_settings(given), make=True, clock=Later())
    with TestClient(application(service), raise_server_exceptions=False) as client:
        yield Site(service, client, provider)


def test_sign_in(site):
    """Whoever has a verified address in a listed domain gets an account and a session, and comes to where they wanted."""
    browser = site.browser()
    page = browser.arrive("/tokens")
    assert page.status_code == 200, page.text
    assert 'content="0; url=/tokens"' in page.text
    assert browser.who() == "ann@example.com"
    assert "HttpOnly" in page.headers["set-cookie"]
    assert site.browser().who() is None
    assert "Sign in with the tests" in browser.get("/signin").text
    assert site.client.get("/api/v1/info").json()["login"] == ["password", "oidc"]


def test_cookies__cross_site(site):
    """The session's cookie is sent by no other site; that of the way to the provider is sent on the way back, and ends there."""
    browser = site.browser()
    sent = browser.get("/login/oidc/test").headers["set-cookie"]
    assert "SameSite=lax" in sent
    assert "Secure" in sent
    back = browser.leave()
    cookies = browser.get(back).headers.get_list("set-cookie")
    session = next(each for each in cookies if each.startswith("__Host-holdfast="))
    assert "SameSite=strict" in session
    assert any(each.startswith("__Host-holdfast-errand=") and "Max-Age=0" in each for each in cookies)


def lie(**claims):
    """What a provider says that gives these claims, None for leaving one out."""

    def twist(said):
        said.update(claims)
        for name in [name for name, value in claims.items() if value is None]:
            del said[name]

    return twist


def refused(site, status=403):
    """Signing in fails, and leaves neither session nor account."""
    browser = site.browser()
    page = browser.arrive()
    assert page.status_code == status, page.text
    assert browser.who() is None
    with site.service.database.read() as connection:
        assert [each.name for each in accounts.list_accounts(connection)] == ["root"]
    return page.text


LIES = (
    ({"nonce": "another"}, "not of this sign-in"),
    ({"nonce": None}, "not of this sign-in"),
    ({"aud": "another"}, "aud"),
    ({"aud": [oidc.CLIENT, "another"]}, "another party"),
    ({"aud": None}, "aud"),
    ({"azp": "another"}, "another party"),
    ({"iss": "https://another.example.com"}, "iss"),
    ({"iss": None}, "iss"),
    ({"exp": 1_000_000_000}, "expired"),
    ({"exp": None}, "exp"),
    ({"iat": 9_000_000_000}, "in the future"),
    ({"nbf": 9_000_000_000}, "not yet"),
    ({"sub": " "}, "names nobody"),
    ({"sub": "a" * 256}, "names nobody"),
    ({"sub": 17}, "sub"),
    ({"sub": None}, "sub"),
)


def test_token__claims(site):
    """A token that was made for another sign-in, party or time, or names nobody, is refused with the reason."""
    for claims, words in LIES:
        site.provider.twist = lie(**claims)
        assert words in refused(site), claims


def coded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(claims):
    return ".".join([*(coded(json.dumps(each).encode()) for each in ({"alg": "none"}, claims)), ""])


def test_token__algorithm_none(site):
    """A token without a signature is refused."""
    site.provider.forge = unsigned
    refused(site)


def test_token__mac_with_the_public_key(site):
    """A token signed by a MAC whose secret is the provider's public key is refused."""
    key = site.provider.key

    def forge(claims):
        head = ".".join(coded(json.dumps(each).encode()) for each in ({"alg": "HS256", "kid": key.kid}, claims))
        return f"{head}.{coded(hmac.digest(key.as_pem(private=False), head.encode(), 'sha256'))}"

    site.provider.forge = forge
    assert "HS256" in refused(site)


def test_token__another_key_of_that_name(site):
    """A token signed with another key that calls itself the provider's is refused."""
    other = RSAKey.generate_key(2048)
    site.provider.forge = lambda claims: jwt.encode({"alg": "RS256", "kid": site.provider.key.kid}, claims, other)
    refused(site)


def test_token__none_at_all(site):
    """What is no token is refused."""
    for text in ("", "a.b.c", "…", "a" * 20_000, "[" * 10_000):
        site.provider.forge = lambda _, text=text: text
        refused(site)


def test_keys__rotated(site):
    """Keys are asked for once; a token with a key that is not known has them asked for again, and a key that is not shown is refused."""
    for sub in ("1", "2"):
        site.provider.user |= {"sub": sub, "email": f"a{sub}@example.com"}
        assert site.browser().arrive().status_code == 200
    assert site.provider.asked.count("/keys") == 1
    site.provider.rotate()
    site.service.clock.ahead = 60.0
    assert site.browser().arrive().status_code == 200
    assert site.provider.asked.count("/keys") == 2
    site.provider.rotate(show=False)
    site.service.clock.ahead = 120.0
    page = site.browser().arrive()
    assert page.status_code == 403
    assert "does not show" in page.text
    assert site.browser().arrive().status_code == 403
    assert site.provider.asked.count("/keys") == 3
    site.provider.rotate()


def test_address__unverified(site):
    """An address that is not verified is none, whatever its domain and whoever invited it; so is a claim that is no plain yes."""
    site.invite("eve@example.com", "root")
    for said in (False, None, "true", 1):
        site.provider.user = {"sub": "9", "email": "eve@example.com", "email_verified": said}
        assert "no verified address" in refused(site)


def test_address__no_listed_domain(site):
    """Whoever has an address in another domain, and no invitation, gets no account."""
    there = (
        "example.org",
        "sub.example.com",
        "badexample.com",
        "example.com@evil.org",
        "example.com.",
        "example.com\n",
    )
    for domain in there:
        site.provider.user["email"] = f"ann@{domain}"
        refused(site)


def test_identity__is_the_subject(site):
    """The same subject with another address is the same account, even with an address that is in no listed domain or unverified."""
    assert site.browser().arrive().status_code == 200
    for email, verified in (("ann@elsewhere.org", True), ("ann@elsewhere.org", False)):
        site.provider.user |= {"email": email, "email_verified": verified}
        browser = site.browser()
        browser.arrive()
        assert browser.who() == "ann@example.com"


def test_identity__is_not_the_address(site):
    """The same address with another subject is another account, with no role, group or token of the first."""
    assert site.browser().arrive().status_code == 200
    site.provider.user["sub"] = "2"
    browser = site.browser()
    browser.arrive()
    assert browser.who() == "ann@example.com-2"


def test_identity__local_account_of_that_name(site):
    """A local account that is called like an address is nobody's who comes from a provider."""
    with site.service.database.write() as connection:
        accounts.add_account(connection, "ann@example.com", PASSWORD, 0.0, admin=True)
    browser = site.browser()
    browser.arrive()
    assert browser.who() == "ann@example.com-2"


def test_identity__shut_out(site):
    """An account that is shut out does not come in by its provider, and its session is no good."""
    browser = site.browser()
    browser.arrive()
    with site.service.database.write() as connection:
        accounts.set_disabled(connection, "ann@example.com", disabled=True)
    assert browser.who() is None
    page = site.browser().arrive()
    assert page.status_code == 403
    assert "shut out" in page.text


def test_invitation(site):
    """An invited address of any domain has the account that it was invited to, once; afterwards the subject has it."""
    assert site.invite("Bob@Other.org", "root") == "root"
    site.provider.user = {"sub": "5", "email": "bob@other.org", "email_verified": True}
    browser = site.browser()
    browser.arrive()
    assert browser.who() == "root"
    site.provider.user["sub"] = "6"
    assert site.browser().arrive().status_code == 403
    site.provider.user["sub"] = "5"
    assert site.browser().arrive().status_code == 200


def test_invitation__by_an_admin(site):
    """An admin of the server invites, sees and withdraws; an account is made that roles can be given to before its owner comes."""
    headers, route = site.root(), "/api/v1/admin/invitations"
    made = site.client.post(route, json={"email": "Eve@Other.org"}, headers=headers).json()
    assert (made["email"], made["name"]) == ("eve@other.org", "eve@other.org")
    assert [each["email"] for each in site.client.get(route, headers=headers).json()] == ["eve@other.org"]
    users = site.client.get("/api/v1/admin/users", headers=headers).json()
    assert "eve@other.org" in {each["name"] for each in users}
    for status in (204, 404):
        gone = site.client.delete(route, params={"email": "eve@other.org"}, headers=headers)
        assert gone.status_code == status
    site.provider.user = {"sub": "7", "email": "eve@other.org", "email_verified": True}
    assert site.browser().arrive().status_code == 403
    assert site.client.post(route, json={"email": "nonsense"}, headers=headers).status_code == 400


def test_groups(site):
    """The claim fills groups that exist, and empties them again; what an admin gave stays."""
    with site.service.database.write() as connection:
        for name in ("vision", "speech", "kept"):
            accounts.add_group(connection, name)
    site.provider.user["teams"] = ["vision", "kept", "unknown", 5]
    site.browser().arrive()
    assert site.groups("ann@example.com") == ["kept", "vision"]
    with site.service.database.write() as connection:
        accounts.change_members(connection, "kept", ["ann@example.com"])
    site.provider.user["teams"] = ["speech"]
    site.browser().arrive()
    assert site.groups("ann@example.com") == ["kept", "speech"]
    del site.provider.user["teams"]
    site.browser().arrive()
    assert site.groups("ann@example.com") == ["kept"]


def test_state__twice(site):
    """What a browser brought back once is refused when it comes again."""
    browser = site.browser()
    back = browser.leave()
    cookies = browser.cookies
    assert browser.get(back).status_code == 200
    browser.cookies = cookies
    again = browser.get(back)
    assert again.status_code == 403
    assert "begun elsewhere" in again.text


def test_state__of_another_browser(site):
    """What one browser was sent for does not sign another one in, nor one that was sent for something else."""
    back = site.browser().leave()
    other = site.browser()
    assert other.get(back).status_code == 403
    other.leave()
    assert other.get(site.browser().leave().removeprefix(URL)).status_code == 403
    assert other.who() is None


def test_state__unknown(site):
    """A state that this server did not make, or none, is refused before the provider is asked anything."""
    browser = site.browser()
    browser.leave()
    site.provider.asked.clear()
    for query in ("?code=x", "?code=x&state=", "?code=x&state=nonsense", f"?code=x&state={'a' * 5000}"):
        assert browser.get(f"/login/oidc/test/back{query}").status_code == 403
    assert site.provider.asked == []


def test_code__of_another_issuer(site):
    """An answer that says to be another issuer's, or that the provider refused, is refused; nothing that it says is shown as HTML."""
    browser = site.browser()
    back = urlsplit(browser.leave())
    query = dict(parse_qsl(back.query))
    page = browser.get(back.path, params=query | {"iss": "https://evil.example"})
    assert page.status_code == 403
    site.provider.refuses = "<script>access_denied</script>"
    page = browser.arrive()
    assert page.status_code == 403
    assert "<script>access" not in page.text


def test_redirect__stays_here(site):
    """Wherever a link wants to lead after signing in, it is a page of this server."""
    for to in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/%0d%0aX:",
        "evil",
    ):
        page = site.browser().arrive(to.replace("\\", "%5C"))
        where = re.search(r'content="0; url=([^"]*)"', page.text).group(1)
        assert where.startswith("/")
        assert not where.startswith(("//", "/\\"))
        assert "evil" not in where
    assert local_path("/a\r\nb") == local_path("/ü") == local_path("") == local_path("/" + "a" * 3000) == "/"


def test_sent__with_pkce(site):
    """A browser is sent with an S256 challenge, a nonce and a state that are others each time, and never with the secret."""
    browser = site.browser()
    queries = [parse_qs(urlsplit(browser.get("/login/oidc/test").headers["location"]).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert queries[0][name] != queries[1][name]
        assert len(queries[0][name][0]) == 43
    assert queries[0]["redirect_uri"] == [BACK]
    assert oidc.SECRET not in str(queries)


def test_provider__unknown_or_silent(site):
    """A provider that there is not is a 404; one that does not answer is said to be so, and a password still works."""
    browser = site.browser()
    assert browser.get("/login/oidc/other").status_code == 404
    assert browser.get("/login/oidc/other/back?code=a&state=b").status_code == 404
    issuer = site.service.issuers["test"]
    with oidc.started([BACK]) as gone:
        address = gone.issuer
    object.__setattr__(issuer.provider, "issuer", address)
    assert browser.get("/login/oidc/test").status_code == 503
    assert site.client.post("/api/v1/login", json={"name": "root", "password": PASSWORD}).status_code == 200


def test_audit(site):
    """Who came by which provider, and who was refused for what, stands in the audit log; no token and no code does."""
    site.browser().arrive()
    site.provider.twist = lie(aud="another")
    site.browser().arrive()
    lines = site.client.get("/api/v1/admin/audit", headers=site.root()).json()["lines"]
    told = {(each["action"], each.get("who")): each.get("detail", "") for each in lines}
    assert told["login", "ann@example.com"] == "by test, domain: 1"
    assert "aud" in told["login.refused", None]
    assert "eyJ" not in str(lines)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "http://id.example.com"},
        {"issuer": ""},
        {"client_id": ""},
        {"name": "Not/a name"},
        {"scopes": ["email"]},
        {"domains": "example.com"},
        {"domains": ["example"]},
        {"secret": "x"},
    ],
    ids=str,
)
def test_settings__refused(tmp_path, change):
    """A provider without an issuer by TLS, a client, a name, the scope openid, or with a setting that there is not, is refused."""
    whole = {"name": "a", "issuer": "https://id.example.com", "client_id": "b"}
    given = {"data": tmp_path, "url": URL}
    assert load_settings(given | {"oidc": [whole]}).oidc[0].scopes == ("openid", "email", "profile")
    for wrong in ([whole | change], [whole, whole]):
        with pytest.raises(UsageError):
            load_settings(given | {"oidc": wrong})
    with pytest.raises(UsageError, match="where this server is"):
        load_settings({"data": tmp_path, "oidc": [whole]})


def test_backup__keeps_identities(site, tmp_path):
    """After a backup is put back the same subject has the same account."""
    from holdfast.server.backup import backup, restore
    from holdfast.server.database import Database

    site.browser().arrive()
    backup(site.service.database, tmp_path / "file", 0.0)
    database = Database(f"sqlite:///{tmp_path / 'other.db'}")
    rows = restore(database, tmp_path / "file")
    assert rows["identities"] == 1
    database.close()
