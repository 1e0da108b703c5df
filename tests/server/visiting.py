"""A browser without its window: cookies of its own, the marks of forms, and links that are followed when a test says so.

Several of them share the one client of a server; addresses are by TLS, as browsers know the server.
"""

from __future__ import annotations

import re
from html import unescape

import httpx

from tests.server.conftest import PASSWORD

URL = "https://testserver.local"


class Visitor:
    """Somebody's browser."""

    def __init__(self, client):
        self._client = client
        self.cookies = httpx.Cookies()

    def get(self, path, **more):
        """Ask for a page; a redirect is an answer."""
        return self._ask("GET", path, **more)

    def post(self, path, page, **fields):
        """Send a form of a page, with its mark."""
        mark = re.findall(r'name="form_mark" value="([^"]+)"', page.text)[-1]
        return self._ask("POST", path, data={"form_mark": mark, **fields})

    def send(self, path, **fields):
        """Send a form that no page has shown."""
        return self._ask("POST", path, data=fields)

    def sign_in(self, name="root", page=None):
        """With a password, at the form that a page shows."""
        page = page or self.get("/signin")
        to = unescape(re.search(r'name="to" value="([^"]*)"', page.text).group(1))
        return self.post("/signin", page, name=name, password=PASSWORD, to=to)

    def who(self):
        """Who is signed in; None for nobody."""
        answer = self.get("/projects")
        found = re.search(r'class="who">([^<]+)<', answer.text)
        return found.group(1) if answer.status_code == 200 and found else None

    def _ask(self, method, path, **more):
        self._client.cookies = self.cookies
        try:
            return self._client.request(method, f"{URL}{path}", follow_redirects=False, **more)
        finally:
            self.cookies = httpx.Cookies(self._client.cookies)
            self._client.cookies = httpx.Cookies()
