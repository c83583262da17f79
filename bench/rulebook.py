"""The peer: ansible-rulebook with its Alertmanager source, in a virtual environment of its own below `.tools`.

It is installed for the benchmark alone and never touches `.venv` or the lock. Refuses nothing: what cannot be had here
is `Absent`, with what is missing.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import place

HOME = place.ROOT / ".tools" / "peer"
COLLECTIONS = HOME / "collections"
_PACKAGES = ("ansible-rulebook==1.3.2", "ansible-core==2.19.14")
_COLLECTION = COLLECTIONS / "ansible_collections" / "ansible" / "eda"
_LEAST_JAVA = 17
_INSTALL_SECONDS = 600
RATE, SEEN = "none: {}", "print_event: {var_root: alert.fingerprint}"


class Absent(Exception):
    """The peer cannot be had here; the text says what is missing."""


@dataclass(frozen=True)
class Peer:
    """An installed one."""

    java: Path  #: the folder above `bin/java`
    version: str


def installed() -> Peer:
    """Install what is missing, once; raises `Absent`."""
    java = _java()
    if not (HOME / "bin" / "ansible-rulebook").exists():
        _install([sys.executable, "-m", "venv", str(HOME)], "a virtual environment")
        pip = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _install([*pip, *_PACKAGES], _PACKAGES[0])
    manifest = _COLLECTION / "MANIFEST.json"
    if not manifest.exists():
        galaxy = [str(HOME / "bin" / "ansible-galaxy"), "collection", "install", "ansible.eda"]
        _install(
            [*galaxy, "-p", str(COLLECTIONS)],
            "the collection ansible.eda (it may be put below .tools/peer/collections by hand)",
        )
    collection = json.loads(manifest.read_text())["collection_info"]["version"]
    return Peer(java, f"{_PACKAGES[0].replace('==', ' ')}, ansible.eda {collection}")


@contextlib.contextmanager
def running(peer: Peer, folder: Path, action: str) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    """Its port, its process and its output, once it listens. `action`: what its rule does with every alert."""
    port = place.free_port()
    rules, hosts, log = folder / f"rules-{port}.yml", folder / "hosts.yml", folder / f"rulebook-{port}.log"
    rules.write_text(
        (Path(__file__).parent / "rulebook.yml").read_text().replace("ACTION", action).replace("PORT", f"{port}")
    )
    hosts.write_text("all: {hosts: {localhost: {ansible_connection: local}}}\n")
    given = {
        "PATH": f"{HOME / 'bin'}:/usr/bin:/bin", "HOME": str(folder), "JAVA_HOME": str(peer.java),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    argv = [str(HOME / "bin" / "ansible-rulebook"), "--rulebook", str(rules), "--inventory", str(hosts)]
    with place.process(argv, log, given) as child:
        place.ready(port, child, log, "/")
        yield port, child, log


def _java() -> Path:
    program = shutil.which("java")
    if program is None:
        raise Absent(f"Java {_LEAST_JAVA}")
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < _LEAST_JAVA:
        raise Absent(f"Java {_LEAST_JAVA}, this is {found[1] if found else 'none'}")
    return Path(program).resolve().parents[1]


def _install(command: list[str], what: str) -> None:
    """Run it; its last words go to the terminal, since they may name hosts."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Absent(what) from error
    if done.returncode:
        print((done.stderr or done.stdout)[-1000:], file=sys.stderr)
        raise Absent(what)
