"""Which certificate authorities a run believes when it asks an API: the system's, and the operator's own beside them.

Decides nothing by itself: without a file of the operator's a run believes what the machine does. Refuses a configured
file that is not there; a run never goes on without a check.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from receiver.adapters.runner.seen import AUTHORITIES
from receiver.errors import Refused

#: where a Python that was built elsewhere does not look: Debian and Alpine, Fedora, openSUSE
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/var/lib/ca-certificates/ca-bundle.pem",
)  # fmt: skip


def provide_authorities(configured: Path | None, data_dir: Path, scratch: Path) -> None:
    """The run's own bundle, where the operator has authorities of their own."""
    own = configured or data_dir / AUTHORITIES
    if configured is None and not own.is_file():
        return
    try:
        content = own.read_bytes()
    except OSError as error:
        raise Refused(
            f"reading the certificates that runs believe, {own}: {error.strerror}",
            next_step="see [runner] ca_file in gitmedic.toml", reason="ca_file",
        ) from error  # fmt: skip
    (scratch / AUTHORITIES).write_bytes(b"\n".join([*_of_the_system(), content]))


def _of_the_system() -> list[bytes]:
    """What this machine believes: OpenSSL's own file, that of a distribution, or a folder with one file for each.

    None where the machine has none: then a run believes the operator's alone.
    """
    paths = ssl.get_default_verify_paths()
    for bundle in (paths.cafile, *_BUNDLES):
        if bundle is not None and Path(bundle).is_file():
            return [Path(bundle).read_bytes()]
    folder = Path(paths.capath or "/nonexistent")
    files = {file.resolve() for file in folder.glob("*.[0-9]") if file.is_file()}
    return [file.read_bytes() for file in sorted(files)]
