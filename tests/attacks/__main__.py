"""Prints the table of attacks for docs/security.md; a test holds it against what is attacked."""

from tests.attacks import landing, theirs, words  # noqa: F401 - they fill the table
from tests.attacks.table import page

if __name__ == "__main__":
    print(page())
