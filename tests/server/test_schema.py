"""The API is asked by schemathesis, by its own description, with what it may and may not be asked: nothing makes it fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from holdfast.formats.api import PushReply, PushRequest, WhoamiReply
from holdfast.remote import Server
from tests.client.conftest import running

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".services" / "schemathesis" / "bin" / "schemathesis"
#: Asked before the environment is cleaned.
SKIP = os.environ.get("HOLDFAST_SKIP_SERVICES") == "1"
PUSH = "0123456789abcdef0123456789abcdef"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
#: Seconds, and examples of an operation, at most.
TIME, EXAMPLES = 60, 12
#: What ends the token that is asked with, and the framework's own routes.
LEFT_OUT = ("/api/v1/logout", "/api/v1/openapi", "/api/v1/openapi/{path}", "/api/v1/openapi/openapi.json")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with assets, one push that is open, and a root to ask it."""
    home = tmp_path_factory.mktemp("schema")
    with running(home / "data") as found:
        repository = found.open(home / "writer")
        (home / "model").mkdir()
        for name, text in (("w.txt", "weights"), ("v.txt", "more weights")):
            (home / "model" / name).write_text(text)
            repository.push(home / "model", "n/a", message=name)
        repository.push(home / "model" / "w.txt", "n/b", labels={"k": "v"})
        writer, started = Server(found.url, found.tokens["writer"]), "2026-01-01T00:00:00.000000Z"
        request = PushRequest(PUSH, "n/a", started)
        writer.ask("POST", "projects/p/pushes", PushReply, body=request)
        yield found


def known(server) -> dict[str, list]:
    """Names that exist, by the field that holds such a name."""
    keys = [str(path.relative_to(server.folder)) for path in server.folder.rglob("*") if path.is_file()]
    keys = [key for key in keys if key.startswith(("n/", "bin/"))] or keys
    return {
        "name": ["n/a", "n/b", "reader"],
        "spec": ["n/a", "n/a:0", "n/a:0.1", "n/b:0.0"],
        "one": ["n/a:0.0"],
        "other": ["n/a:0.1", "n/b"],
        "version": ["0.0", "0.1"],
        "versions": [["0.0"], ["0.1", "0.0"]],
        "push": [PUSH],
        "id": [PUSH],
        "key": sorted(keys),
        "keys": [sorted(keys), []],
        "prefix": ["", "n", "n/a"],
        "grants": ["0", "5"],
        "whom": ["reader", "stranger"],
    }


def run(server, folder: Path) -> subprocess.CompletedProcess[str]:
    """Ask it."""
    admin = Server(server.url, server.tokens["root"])
    token = admin.ask("GET", "whoami", WhoamiReply).token.id
    settings = [f'hooks = "{ROOT / "tests" / "server" / "schema_hooks.py"}"', "[headers]"]
    settings += [f'Authorization = "Bearer {server.tokens["root"]}"', "[parameters]", '"path.project_name" = "p"']
    (folder / "schemathesis.toml").write_text("\n".join(settings))
    line = [PROGRAM, "--config-file", folder / "schemathesis.toml", "run", f"{server.url}/api/v1/openapi.json"]
    line += ["--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-time", str(TIME), "-n", str(EXAMPLES)]
    line += ["--seed", "1", "--generation-database", "none", "--no-color", "--warnings", "off", "--no-shrink"]
    line += [word for path in LEFT_OUT for word in ("--exclude-path", path)]
    env = os.environ | {"KNOWN": json.dumps(known(server)), "SPARED": json.dumps(["root", token, "p"])}
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(SKIP, reason="HOLDFAST_SKIP_SERVICES=1")
def test_schema__nothing_fails(server, tmp_path):
    """Whatever an admin asks of the routes that the API's description names, none answers with a 5xx or other than described."""
    done = run(server, tmp_path)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    selected, tested = re.search(r"Selected: (\d+)/", done.stdout), re.search(r"Tested: (\d+)", done.stdout)
    assert int(tested[1]) == int(selected[1]) > 55
    assert Server(server.url, server.tokens["root"]).ask("GET", "whoami", WhoamiReply).admin
