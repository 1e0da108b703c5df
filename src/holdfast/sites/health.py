"""How ``asset site run`` is, over HTTP on this machine alone: ``/healthz`` for balancers, ``/metrics`` in Prometheus' text.

``/healthz`` answers 503 only for what makes this server unfit to serve: a mount that failed, or a loop that stands still. A backup that
failed takes no server out of service; it stands in the answer, in the metrics, and in notices.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from holdfast.errors import LocalError
from holdfast.sites.notices import OK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from holdfast.sites.running import Runner

__all__ = ["health", "metrics", "serving"]


def health(runner: Runner) -> dict[str, Any]:
    """The state as ``/healthz`` tells it."""
    bad = {f"{kind} {name}": each.message for (kind, name), each in runner.notices.known.items() if each.state != OK}
    return {
        "state": OK if runner.is_well and not bad else "degraded" if runner.is_well else "failed",
        "site": runner.site,
        "problems": bad,
        "jobs": {
            name: {"running": each.running, "state": each.state, "seconds": each.seconds, "next": due.isoformat()}
            for (name, each), due in zip(runner.reports.items(), runner.next_times().values(), strict=True)
        },
    }


def metrics(runner: Runner) -> str:
    """The numbers in Prometheus' text format."""
    lines: list[str] = []
    known = list(runner.notices.known.items())
    subjects = [((("kind", kind), ("name", name)), each) for (kind, name), each in known]
    _family(lines, "site_ok", "Whether it is well.", ((labels, float(e.state == OK)) for labels, e in subjects))
    _family(
        lines,
        "site_last_ok_timestamp_seconds",
        "When it was last well.",
        ((labels, e.last_ok) for labels, e in subjects if e.last_ok),
    )
    reports = [((("job", name),), each) for name, each in runner.reports.items()]
    _family(lines, "site_job_running", "Whether it runs now.", ((labels, float(e.running)) for labels, e in reports))
    _family(
        lines,
        "site_job_seconds",
        "How long it took last.",
        ((labels, e.seconds) for labels, e in reports if e.seconds is not None),
    )
    gauges = dict(runner.gauges)
    for name in sorted({each for each, _ in gauges}):
        _family(
            lines,
            f"site_{name}",
            f"As of the last run: {name.replace('_', ' ')}.",
            ((labels, value) for (each, labels), value in gauges.items() if each == name),
        )
    return "\n".join(lines) + "\n"


def _family(
    lines: list[str], name: str, text: str, values: Iterable[tuple[tuple[tuple[str, str], ...], float]]
) -> None:
    lines += [f"# HELP holdfast_{name} {text}", f"# TYPE holdfast_{name} gauge"]
    for labels, value in values:
        told = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels)
        lines.append(f"holdfast_{name}{{{told}}} {value:.17g}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@contextmanager
def serving(runner: Runner, listen: str) -> Iterator[str]:
    """Answer at ``host:port`` until the block is left; the address, whose port is a free one where 0 was asked for.

    Raises:
        LocalError: the port is taken.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "holdfast", ""
        timeout = 10

        def do_GET(self) -> None:
            """One of two pages."""
            if self.path == "/healthz":
                body = json.dumps(health(runner)).encode()
                self._answer(200 if runner.is_well else 503, "application/json", body)
            elif self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4; charset=utf-8", metrics(runner).encode())
            else:
                self._answer(404, "text/plain", b"/healthz or /metrics\n")

        do_HEAD = do_GET  # noqa: N815 - http.server's name

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Nothing: a balancer asks every second."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        server = Server((host, int(port)), Handler)
    except OSError as error:
        hint = "name another port: listen in [run] of the site's settings"
        raise LocalError(f"cannot listen at {listen}: {error.strerror}", subject=listen, hint=hint) from error
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield f"{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
