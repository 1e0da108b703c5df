"""What the contract suites share."""

from __future__ import annotations

import secrets

import pytest

pytest.register_assert_rewrite("tests.contracts.store_suite")


@pytest.fixture
def key():
    """A key that no other test uses."""
    return f"k/{secrets.token_hex(8)}"
