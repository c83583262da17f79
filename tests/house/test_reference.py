"""The reference pages say what the code says."""

from pathlib import Path

import pytest

from receiver.cli.app import app
from receiver.cli.pages import pages

FOLDER = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", ["settings.md", "cli.md", "exit-codes.md", "api.md", "metrics.md"])
def test_a_reference_page_is_not_stale(name):
    made = pages(app)[name]
    assert (FOLDER / name).read_text("utf-8") == made, "run: gitmedic config schema --docs docs/reference"
