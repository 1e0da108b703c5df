"""docs/seeds/000.md names a test for every sentence, and 000-faults.md one for every fault."""

from __future__ import annotations

import pytest

from tests.docs.seed_table import check, rows_of

ROWS = rows_of("000")
FAULTS = rows_of("000-faults")
#: The sentences and list items of the seed.
SENTENCES = 17


def test_table__is_whole():
    """Every sentence of the seed stands in the table, once."""
    assert len({row.split("|")[1] for row in ROWS}) == len(ROWS) == SENTENCES


@pytest.mark.parametrize("row", ROWS, ids=[row[2:40] for row in ROWS])
def test_table__names_tests_that_exist(row):
    """Every row says what is done, and names tests that exist."""
    check(row)


@pytest.mark.parametrize("row", FAULTS, ids=[row[2:8].strip(" |") for row in FAULTS])
def test_faults__name_tests_that_exist(row):
    """Every fault of the original names the test that would find it here."""
    check(row)
