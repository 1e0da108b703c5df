"""LocalStack 4.6, S3 only: the most complete S3 interface among the servers here; it checks no secret in headers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.services.base import (
    HOST,
    INSTALLED,
    MissingProgramError,
    Service,
    answers,
    free_port,
    make_bucket,
    processes,
    s3_env,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["start"]

_BUCKET: Final = "holdfast"


@contextmanager
def start(directory: Path) -> Iterator[Service]:
    """Run it with its own Python environment; the list of its plugins is kept there, which takes seconds to make."""
    python = INSTALLED / "localstack" / "bin" / "python"
    if not python.exists():
        raise MissingProgramError("LocalStack is not installed; run `make services`")
    port = free_port()
    cache = INSTALLED / "localstack-cache"
    cache.mkdir(exist_ok=True)
    settings = {
        "FILESYSTEM_ROOT": str(directory / "root"),
        "XDG_CACHE_HOME": str(cache),
        "SERVICES": "s3",
        "EAGER_SERVICE_LOADING": "1",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
        "GATEWAY_LISTEN": f"{HOST}:{port}",
    }
    with processes("localstack", directory, patience=0.2) as group:
        group.spawn([python, "-m", "localstack.runtime.main"], settings)
        group.wait(lambda: answers(f"http://{HOST}:{port}/_localstack/health", containing=b'"s3": "running"'), 90)
        env = s3_env(port, "test", "test")
        make_bucket(env, _BUCKET)
        yield Service("localstack", f"s3://{_BUCKET}", env, group.pids)
