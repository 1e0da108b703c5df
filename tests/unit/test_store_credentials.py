"""AWS credentials by botocore's chain, and a profile's region and endpoint."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.errors import AccessError, UsageError
from holdfast.store.credentials import AwsChain, ProfileValues, StaticKeys, from_config_file


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with nothing in it, and no way to the instance's own credentials."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def test_static_keys():
    """Given keys are handed on as they are and never end."""
    assert StaticKeys("ak", "sk", "st")() == {
        "access_key_id": "ak",
        "secret_access_key": "sk",
        "token": "st",
        "expires_at": None,
    }


def test_static_keys__need_no_botocore():
    """Opening a store with keys from the environment does not import botocore."""
    program = (
        "import sys; from holdfast.store.bucket import BucketStore; from holdfast.store.settings import bucket_settings;"
        "store = BucketStore(bucket_settings('s3://b', {'AWS_ACCESS_KEY_ID': 'a', 'AWS_SECRET_ACCESS_KEY': 'b'}));"
        "store._exchange.clients(); print('botocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_chain__profile(home):
    """Keys of a profile are found in the credentials file."""
    (home / "credentials").write_text("[work]\naws_access_key_id = pk\naws_secret_access_key = ps\n")
    found = AwsChain("work")()
    assert (found["access_key_id"], found["secret_access_key"], found["expires_at"]) == ("pk", "ps", None)


def test_chain__process_is_asked_again_before_its_keys_end(home):
    """Keys of a credential process carry their end, and near it the process is asked for new ones."""
    count, end = home / "count", (datetime.now(UTC) + timedelta(minutes=3)).isoformat()
    answer = json.dumps(
        {"Version": 1, "AccessKeyId": "N", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": end}
    )
    script = home / "process"
    script.write_text(f"#!/bin/sh\necho x >> {count}\necho '{answer}' | sed s/N/key$(wc -l < {count})/\n")
    script.chmod(0o755)
    (home / "config").write_text(f"[profile p]\ncredential_process = {script}\n")
    chain = AwsChain("p")
    first, second = chain(), chain()
    assert first["expires_at"] == datetime.fromisoformat(end)
    assert first["token"] == "t"
    assert first["access_key_id"] != second["access_key_id"]


def test_chain__nothing_found(home):
    """Where there are none, the error says what was looked at and what to set; a text is kept for the client too."""
    chain = AwsChain()
    with pytest.raises(AccessError) as caught:
        chain()
    for word in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "credential_process", "SSO", "instance"):
        assert word in caught.value.hint
    assert chain.failure is caught.value


def test_chain__no_such_profile(home):
    """A profile that is not there is named."""
    with pytest.raises(AccessError, match="nope") as caught:
        AwsChain("nope")()
    assert "AWS_PROFILE" in caught.value.hint


def test_chain__broken_process(home):
    """A credential process that fails is an access error, not a crash."""
    (home / "config").write_text("[profile p]\ncredential_process = false\n")
    with pytest.raises(AccessError):
        AwsChain("p")()


def test_chain__silent_instance_service(home, monkeypatch):
    """An instance's service that accepts and never answers holds nobody for more than seconds."""
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(AccessError):
            AwsChain()()
        assert time.monotonic() - start < 10


def test_config_file__not_there(tmp_path):
    """No file, no values."""
    assert from_config_file(tmp_path / "none", None) == ProfileValues()
    assert from_config_file(None, "p") == ProfileValues()


def test_config_file__region_and_endpoint(tmp_path):
    """The default and a named profile give region and endpoint; a services section is stronger for its service."""
    file = tmp_path / "config"
    file.write_text(
        "[default]\nregion = r1\n"
        "[profile a]\nregion = r2\nendpoint_url = http://general\n"
        "[profile b]\nservices = here\nendpoint_url = http://general\n"
        "[services here]\ns3 =\n  endpoint_url = http://only-s3\nsqs =\n  endpoint_url = http://queue\n"
        "[profile c]\nendpoint_url = http://general\nignore_configured_endpoint_urls = true\n"
    )
    assert from_config_file(file, None) == ProfileValues("r1")
    assert from_config_file(file, "a") == ProfileValues("r2", "http://general")
    assert from_config_file(file, "b") == ProfileValues(None, "http://only-s3")
    assert from_config_file(file, "c") == ProfileValues()
    assert from_config_file(file, "absent") == ProfileValues()


def test_config_file__broken(tmp_path):
    """A file that is none is refused by name."""
    file = tmp_path / "config"
    file.write_text("no section\n")
    with pytest.raises(UsageError, match="config"):
        from_config_file(file, None)
