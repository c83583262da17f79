"""What a run finds in its own directory, and what Ansible is told of it; never what a secret is.

The names are agreed on here by whoever lays things out and by the child, which loads this module before every run: it
imports the least that it can.
"""

from __future__ import annotations

from pathlib import Path

#: the run's private place
NAME = "agent"
#: in the place
SOCKET, SECRETS, BECOME, VAULT = "sock", "secrets", "become", "vault"
#: the authorities that it believes, beside the place and in the data directory
AUTHORITIES = "ca.pem"


def seen_variables(base: Path) -> dict[str, str]:
    """Extra variables for the play; `base` is the run's directory as it sees it."""
    place = base / NAME / SECRETS
    return {"gm_secret_dir": str(place)} if place.is_dir() else {}


def seen_environment(base: Path) -> dict[str, str]:
    """Where Ansible finds passwords, and where Python's and requests' connections find authorities."""
    place, bundle = base / NAME, base / AUTHORITIES
    found = {}
    if (place / BECOME).exists():
        found["ANSIBLE_BECOME_PASSWORD_FILE"] = str(place / BECOME)
    if (place / VAULT).is_dir():
        vaults = sorted((place / VAULT).iterdir())
        found["ANSIBLE_VAULT_IDENTITY_LIST"] = ",".join(f"{one.name}@{one}" for one in vaults)
    if bundle.is_file():
        found |= {"SSL_CERT_FILE": str(bundle), "REQUESTS_CA_BUNDLE": str(bundle)}
    return found
