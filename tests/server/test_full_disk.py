"""A server whose disk is full."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.server.conftest import serving, small_disk

PUSH, TOKEN = "0" * 32, {"label": "t"}


def test_database_full(tmp_path, caplog):
    """Where the database has no room the client is told that it does not answer, and the log says why; what only reads goes on."""
    with small_disk(tmp_path / "disk") as fill, serving(tmp_path / "disk") as server:
        filler = fill()
        answer = server.post(f"{server.api}/tokens", json=TOKEN, who="writer")
        assert (answer.status_code, answer.json()["error"]["kind"]) == (503, "unreachable")
        assert "the database does not answer: database or disk is full" in caplog.text
        assert server.get("store").status_code == 200
        filler.unlink()
        assert server.post(f"{server.api}/tokens", json=TOKEN, who="writer").status_code == 201


def test_store_full(tmp_path):
    """Where a folder of the server has no room the client is told that it is the server's disk, and not his own."""
    with small_disk(tmp_path / "disk") as fill, serving(tmp_path / "disk") as server:
        fill()
        started = datetime.now(UTC).isoformat()
        answer = server.post("pushes", json={"id": PUSH, "name": "n", "started": started})
        assert answer.status_code == 500
        assert answer.json()["error"]["kind"] == "local"
        assert answer.json()["error"]["message"] == f"on the server: No space left on device: .holdfast/pushes/{PUSH}"
