"""docs/seeds/001.md names a test for each sentence of the seed that is built."""

from __future__ import annotations

import pytest

from tests.docs.seed_table import check, rows_of

ROWS = rows_of("001")
#: The sentences and list items of the seed that are built.
SENTENCES = 23


def test_table__has_each_once():
    """Every sentence that is built stands in the table, once."""
    assert len({row.split("|")[1] for row in ROWS}) == len(ROWS) == SENTENCES


@pytest.mark.parametrize("row", ROWS, ids=[row[2:40] for row in ROWS])
def test_table__names_tests_that_exist(row):
    """Every row says what is done, and names tests that exist."""
    check(row)
