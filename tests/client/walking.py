"""A browser without its window, as a program: ``python -m tests.client.walking WAY … URL`` goes to a page and does what somebody would.

``password NAME`` signs in with the password of WALKING_PASSWORD, ``oidc`` at the first provider that the page offers; then a
program is allowed, or with ``refuse`` refused; ``letters L`` types letters. It follows redirects by http.client, keeps cookies by host,
and sends a form to where its page says.
"""

from __future__ import annotations

import http.client
import os
import re
import sys
from html import unescape
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit


class Walker:
    """Where one is, and the cookies of each host and port."""

    def __init__(self) -> None:
        self.url, self.text, self._cookies = "", "", {}

    def go(self, url: str, fields: dict[str, str] | None = None) -> None:
        """To a page, by its redirects and by pages that send one on."""
        for _ in range(20):
            status, headers, self.text = self._ask(url, fields)
            self.url, fields = url, None
            sent = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', self.text)
            if status in (302, 303):
                url = urljoin(url, headers["Location"])
            elif sent:
                url = urljoin(url, unescape(sent.group(1)))
            else:
                return
        raise SystemExit("sent in circles")

    def form(self, action: str, **more: str) -> None:
        """Fill in and send the form of the page that goes there."""
        inner = re.search(rf'<form[^>]*action="{action}".*?</form>', self.text, flags=re.DOTALL)
        if inner is None:
            raise SystemExit(f"no form to {action} in {self.url}:\n{self.text}")
        hidden = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', inner.group(0))
        self.go(urljoin(self.url, action), {name: unescape(value) for name, value in hidden} | more)

    def _ask(self, url: str, fields: dict[str, str] | None) -> tuple[int, http.client.HTTPMessage, str]:
        parts = urlsplit(url)
        kept = self._cookies.setdefault(parts.netloc, {})
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in kept.items() if value)}
        if fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(parts.netloc, timeout=20)
        path, body = f"{parts.path or '/'}?{parts.query}", None if fields is None else urlencode(fields)
        connection.request("GET" if fields is None else "POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        for each in answer.headers.get_all("Set-Cookie", []):
            kept.update({name: morsel.value for name, morsel in SimpleCookie(each).items()})
        connection.close()
        return answer.status, answer.headers, text


def main() -> None:
    """Walk."""
    way, *words, url = sys.argv[1:]
    walker = Walker()
    walker.go(url)
    if way == "oidc":
        walker.go(urljoin(url, unescape(re.search(r'href="(/login/oidc/[^"]+)"', walker.text).group(1))))
    else:
        walker.form("/signin", name=words[0], password=os.environ["WALKING_PASSWORD"])
    if "letters" in words:
        letters = words[words.index("letters") + 1]
        walker.form("/login/device", letters=letters)
        walker.form("/login/device", answer="allow")
    else:
        walker.form("/login/program", answer="refuse" if "refuse" in words else "allow")


if __name__ == "__main__":
    main()
