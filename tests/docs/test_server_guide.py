"""The guide to the server is typed as it stands, on a port that is free."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.docs.typed import commands

ROOT = Path(__file__).parents[2]


def test_guide__every_command_works(tmp_path: Path) -> None:
    """Every command of the guide runs in order in an empty folder and succeeds; the server ends when it is told to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = (ROOT / "docs" / "server.md").read_text("utf-8").replace("8000", str(port))
    lines = commands(text)
    assert len(lines) > 20
    wait = f"for i in $(seq 100); do (: < /dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; sleep 0.1; done"
    script = ["set -eo pipefail", lines[0], "server=$!", "trap 'kill $server; wait $server' EXIT", wait, *lines[1:]]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "HOLDFAST_KEYRING": "off", "HOLDFAST_CONFIG": str(tmp_path / "config.toml")}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nlp/bert" in done.stdout
    assert (tmp_path / "robot.token").read_text().startswith("hft_")
