"""The tutorial, as somebody types it: every block of docs/tutorial.md in its order, with real processes."""

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.machine import free_port, required

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh(?: (\w+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def home():
    """An empty home of its own, with the checkout's commands on PATH."""
    required("bwrap")
    place = Path(tempfile.mkdtemp(prefix="gm-tutorial-", dir="/var/tmp"))
    place.chmod(0o755)
    told = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GITMEDIC_")},
        "HOME": str(place), "GITMEDIC_DATA_DIR": str(place / "data"), "NO_COLOR": "1",
        "GITMEDIC_LISTEN": f"127.0.0.1:{free_port()}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@localhost",
        "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@localhost",
    }  # fmt: skip
    yield place, told
    shutil.rmtree(place)


def test_the_tutorial_is_true(home):
    place, told = home
    said = {}
    with Started() as started:
        for number, (kind, text) in enumerate(BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text())):
            if kind == "up":
                started.up(told, place)
            elif kind == "digest":
                said[number] = _typed(text, told)
            else:
                said[number] = _run(text, told)
    everything = "\n".join(said.values())
    assert "DiskFilling" in everything and "no playbook of the catalog handles" in everything
    assert "home_thumbnails" in everything and "proposed" in everything
    assert not (place / "thumbnails" / "old.jpg").exists()
    assert (place / "thumbnails" / "new.jpg").exists()
    assert "no_data" in everything
    assert len(list((place / "ops" / "runs").rglob("*.yml"))) == 1


class Started:
    """What runs in the second terminal."""

    def __init__(self):
        self._process = None

    def __enter__(self):
        return self

    def up(self, told, place):
        """`gitmedic up`, until it answers."""
        with (place / "up.log").open("w") as log:
            self._process = subprocess.Popen(["gitmedic", "up"], env=told, stdout=log, stderr=log)
        url = f"http://{told['GITMEDIC_LISTEN']}/readyz"
        waiting = f"for n in $(seq 300); do curl -sf {url} && exit 0; sleep 0.2; done; exit 1"
        subprocess.run(["bash", "-c", waiting], check=True, capture_output=True, timeout=90)

    def __exit__(self, *_):
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


def _run(text, told):
    done = subprocess.run(["bash", "-ec", text], env=told, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _typed(text, told):
    """At a terminal; the digest that is asked for is typed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(["bash", "-ec", text], env=told, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = bytearray()

    def read():
        is_typed = False
        try:
            while part := os.read(ours, 4096):
                said.extend(part)
                asked = re.search(rb"type ([0-9a-f]{12}) to go on", bytes(said))
                if asked and not is_typed:
                    os.write(ours, asked[1] + b"\n")
                    is_typed = True
        except OSError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(60)
    reader.join(10)
    os.close(ours)
    assert code == 0, said.decode()
    return said.decode()
