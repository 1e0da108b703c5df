"""The server, as its users feel it: resolves a second, lists and searches over many assets, and a fetch through it beside one from the bucket.

The server is `asset server start`, one process on SQLite. Requests are made by wrk with 64 connections; a list or search is one request after
another on one connection. The store of many assets is a folder that another program could have written: metas of one version, repeated.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from bench.contender import ROOT
from bench.report import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.runner import Bench
    from bench.work import Work

__all__ = ["measure_door"]

_ASSET: Final = str(ROOT / ".venv" / "bin" / "asset")
_VERSIONS: Final = 10
_CONNECTIONS, _SECONDS = 64, 5
_TURNS: Final = 20
#: Seconds: longer than a server waits between two looks at a bucket.
_WHILE: Final = 45.0
_META: Final = {
    "push_date": "2026-01-01T00:00:00+00:00",
    "is_directory": False,
    "hash": "blake3:0de4773225ead44ce1e3279bf87ab18cec2df9a318a70c7c602511a5c7bfdef8",
    "holdfast": {"format": 1, "layout": "file", "push": "0" * 32, "files": 1, "bytes": 3},
}


def measure_door(bench: Bench, assets: int, works: list[Work]) -> list[str]:
    """The tables. ``assets`` are made, with ten versions each; ``works`` are fetched by both doors in turn."""
    assert bench.server is not None
    folder = bench.turns / "door"
    (folder / "home").mkdir(parents=True)
    env = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "HOLDFAST_KEYRING": "off"}
    bucket = f"s3://{bench.server.bucket('door')}/x"
    token = _make(folder, env, bucket, bench.server.env)
    with _serving(folder, env) as url:
        found = _asked(folder, env, url, token, assets)
        return [found, _fetched(bench, folder, url, token, bucket, works)]


def _make(folder: Path, env: Mapping[str, str], bucket: str, keys: Mapping[str, str]) -> str:
    """A server's database with a project in a folder, ``many``, and one in the bucket, ``s``; the token of a writer in both."""
    endpoint = keys["AWS_ENDPOINT_URL"]
    (folder / "server.toml").write_text(f'data = "{folder / "data"}"\nallow_endpoints = ["{endpoint}"]\n')
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    (folder / "keys").write_text("".join(f"{name}={keys[name]}\n" for name in names))
    token = json.loads(_server(folder, env, "user", "add", "bench", "--service", "--json"))["token"]
    _server(folder, env, "project", "add", "many")
    more = ("--endpoint", endpoint, "--region", keys["AWS_REGION"], "--credentials-file", str(folder / "keys"))
    _server(folder, env, "project", "add", "s", bucket, *more)
    for project in ("many", "s"):
        _server(folder, env, "role", project, "bench", "writer")
    return str(token)


def _server(folder: Path, env: Mapping[str, str], *words: str) -> str:
    line = [_ASSET, "server", *words, "--config", str(folder / "server.toml")]
    return subprocess.run(line, env=dict(env), check=True, capture_output=True, text=True).stdout


@contextmanager
def _serving(folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    line = [_ASSET, "server", "start", "--port", "0", "--json", "--config", str(folder / "server.toml")]
    with subprocess.Popen(line, env=dict(env), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.send_signal(signal.SIGTERM)


def _asked(folder: Path, env: Mapping[str, str], url: str, token: str, assets: int) -> str:
    """Resolves, lists and searches, with so many assets."""
    store = folder / "data" / "stores" / "many"
    for number in range(assets):
        _write_asset(store, f"group{number % 100}/asset{number}", number)
    begun = time.monotonic()
    _server(folder, env, "rebuild")
    rebuilt = time.monotonic() - begun
    lines = [
        f"### A server with {assets:,} assets and {assets * _VERSIONS:,} versions\n",
        "| what | measured | goal |\n|---|---:|---|",
        f"| resolve, {_CONNECTIONS} connections | {_wrk(url, token)} | ≥ 3,000 a second, p99 ≤ 50 ms |",
    ]
    asked = {
        "resolve, one after another": "resolve?spec=group7/asset7",
        "a page of the list": "assets?limit=100",
        "search for a word": "search?q=asset77",
        "search for a word of every message": "search?q=written",
        "a page of the store's objects": "list?limit=100",
    }
    for what, path in asked.items():
        lines.append(f"| {what} | {_one_by_one(url, token, path):.0f} ms | ≤ 100 ms |")
    taken = _meanwhile(url, token, list(asked.values())[1:3])
    what = "lists and searches while the copy follows the bucket, the slowest of a hundred"
    lines.append(f"| {what} | {taken:.0f} ms | ≤ 100 ms |")
    lines.append(f"| `asset server rebuild` | {rebuilt:.1f} s | |")
    return "\n".join(lines) + "\n"


def _write_asset(store: Path, name: str, number: int) -> None:
    folder = store / name
    folder.mkdir(parents=True)
    versions = [f"0.{each}" for each in reversed(range(_VERSIONS))]
    for version in versions:
        meta = _META | {"message": f"written as number {number}"}
        (folder / f"{version}.meta").write_text(json.dumps(meta))
    folder.with_name(f"{folder.name}.versions").write_text(json.dumps({"versions": versions}))


def _wrk(url: str, token: str) -> str:
    wrk = shutil.which("wrk")
    if wrk is None:
        return "wrk is not installed"
    target = f"{url}/api/v1/projects/many/resolve?spec=group7/asset7"
    head = f"Authorization: Bearer {token}"
    line = [wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{_SECONDS}s", "--latency", "-H", head, target]
    said = subprocess.run(line, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(said)
    rate, last = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"^\s+99%\s+([\d.]+\w+)$", said, re.MULTILINE)
    assert rate is not None
    assert last is not None
    return f"{float(rate[1]):,.0f} a second, p99 {last[1]}"


def _one_by_one(url: str, token: str, path: str) -> float:
    """The median of some requests, in milliseconds."""
    with _connected(url) as connection:
        return statistics.median(_ask(connection, token, path) for _ in range(_TURNS)) * 1000


def _meanwhile(url: str, token: str, paths: list[str]) -> float:
    """The slowest of a hundred requests, in milliseconds, over a time in which the server looks at the whole bucket."""
    taken, begun = [], time.monotonic()
    with _connected(url) as connection:
        while time.monotonic() - begun < _WHILE:
            taken += [_ask(connection, token, path) for path in paths]
            time.sleep(0.05)
    return statistics.quantiles(taken, n=100)[-1] * 1000


@contextmanager
def _connected(url: str) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80)
    try:
        yield connection
    finally:
        connection.close()


def _ask(connection: http.client.HTTPConnection, token: str, path: str) -> float:
    """How long one request took, in seconds."""
    begun = time.monotonic()
    connection.request("GET", f"/api/v1/projects/many/{path}", headers={"Authorization": f"Bearer {token}"})
    reply = connection.getresponse()
    body = reply.read()
    if reply.status != 200:
        raise RuntimeError(f"{path}: {reply.status} {quote(body[:200])}")
    return time.monotonic() - begun


def _fetched(bench: Bench, folder: Path, url: str, token: str, bucket: str, works: list[Work]) -> str:
    """What was pushed through the server, fetched through it and from the bucket, in turn, by machines that know nothing."""
    assert bench.server is not None
    doors = {
        "the server": (f"{url}/s", {"ASSET_SERVER_URL": url, "HOLDFAST_TOKEN": token}),
        "the bucket": (bucket, dict(bench.server.env)),
    }
    lines = ["### A fetch through the server beside one from the bucket\n"]
    lines.append("| work | the server, s | the bucket, s | speed | goal |\n|---|---:|---:|---:|---|")
    for work in works:
        source, figures = work.make(bench.place / "data"), {door: Figure() for door in doors}
        layout = ["--layout", work.layout] if work.layout else []
        for number in range(-1, bench.rounds):
            for door, (store, means) in doors.items():
                home = folder / f"{work.name}-{number}-{door[4:]}"
                (home / "assets").mkdir(parents=True)
                here = {"PATH": os.environ["PATH"], "HOME": str(home), "HOLDFAST_ASSETS_DIR": str(home / "assets")}
                env = here | means
                if number < 0 and door == "the server":
                    bench.run([_ASSET, "--store", store, "push", str(source), f"bench/{work.name}", *layout], env)
                elif number >= 0:
                    line = [_ASSET, "--store", store, "fetch", f"bench/{work.name}:0.0"]
                    bench.measure(line, env, figures[door])
        ours, other = (figures[door].median() or 0.0 for door in doors)
        lines.append(f"| {work.name} | {ours:.2f} | {other:.2f} | {other / ours:.2f} x | ≥ 0.9 x |")
    return "\n".join(lines) + "\n"
