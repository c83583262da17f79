"""Our own commits, signed by an ssh key: the same commit with a signature in its header.

Decides that git's own format is used (`gpgsig`, namespace `git`), so that `git verify-commit` and every forge can
check it. Refuses a key that cannot be used without a person; a forge that asks for signed commits would refuse
the push later, and with worse words.
"""

from __future__ import annotations

from receiver.adapters.repo import objects
from receiver.adapters.repo.names import check_id
from receiver.adapters.repo.process import Git
from receiver.errors import Refused


def signed(git: Git, commit: str) -> str:
    """The id of the same commit with our signature."""
    (body,) = objects.read(git, [commit])
    header, _, message = body.partition(b"\n\n")
    # a header goes on over several lines by a space before each
    signature = b"\n ".join(_signature(git, body).rstrip(b"\n").split(b"\n"))
    kind = b"gpgsig" if len(commit) == 40 else b"gpgsig-sha256"
    whole = header + b"\n" + kind + b" " + signature + b"\n\n" + message
    made = git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=whole, doing="writing a signed commit")
    return check_id(made.stdout.decode("ascii", "replace").strip())


def _signature(git: Git, text: bytes) -> bytes:
    key = git.settings.signing_key_file
    made = git.other("ssh-keygen", "-Y", "sign", "-n", "git", "-f", str(key), stdin=text)
    if made.status != 0 or b"BEGIN SSH SIGNATURE" not in made.stdout:
        raise Refused(
            f"signing a commit with {str(key)!r}: ssh-keygen says: {' '.join(made.stderr.split())[:300]}",
            next_step="give repo.signing_key_file an ssh private key without a passphrase, readable by gitmedic alone",
            reason="signing_key",
        )
    return made.stdout
