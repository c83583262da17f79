"""Makes a checkout ready: `.venv` from the lock, tools into `.tools`, bytecode. Standard library only.

    python3 setup/prepare.py            # what the product and the demo need
    python3 setup/prepare.py --tests    # also what the tests need

Starts nothing on the machine, and installs nothing but the browser for the tests, where root may: other Debian
packages are downloaded and unpacked below `.tools`. Done work is remembered by digest, so a second run takes no
time. A tool that cannot be had is said, not hidden; with CI=true it is an error.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
#: a minute on a small machine; a slower one goes on without
COMPILE_SECONDS = 600.0
#: where a machine's own programs are looked for: never below .tools, whatever PATH says
SYSTEM = ":".join((os.defpath, "/usr/local/bin", "/usr/sbin", "/sbin"))
#: program → Debian package, and where the program lies in it
DEMO_TOOLS = {
    "prometheus": ("prometheus", "usr/bin/prometheus"),
    "promtool": ("prometheus", "usr/bin/promtool"),
    "alertmanager": ("prometheus-alertmanager", "usr/bin/prometheus-alertmanager"),
    "amtool": ("prometheus-alertmanager", "usr/bin/amtool"),
    "bwrap": ("bubblewrap", "usr/bin/bwrap"),
}
TEST_TOOLS = {
    "sshd": ("openssh-server", "usr/sbin/sshd"),
    "dockerd": ("docker.io", "usr/sbin/dockerd"),
    "docker": ("docker.io", "usr/bin/docker"),
    "containerd": ("containerd", "usr/bin/containerd"),
    "containerd-shim-runc-v2": ("containerd", "usr/bin/containerd-shim-runc-v2"),
    "runc": ("runc", "usr/sbin/runc"),
    # under this name: a busybox that needs libraries would start in no empty image
    "busybox-static": ("busybox-static", "bin/busybox"),
    "zebra": ("frr", "usr/lib/frr/zebra"),
    "bgpd": ("frr", "usr/lib/frr/bgpd"),
    "vtysh": ("frr", "usr/bin/vtysh"),
}
#: what no unpacking can bring, for it needs a hundred libraries: installed, where root may; it starts no service
TEST_PACKAGES = {"chromium": "chromium", "ip": "iproute2", "systemctl": "systemd"}
#: libraries that a minimal machine may lack
FRR = ("libyang2", "libc-ares2", "libjson-c5", "libreadline8", "libcap2", "libpcre2-8-0")
LIBRARIES = {"sshd": ("libwrap0", "libnsl2", "libtirpc3"), "zebra": FRR, "bgpd": FRR, "vtysh": FRR}
#: collections that the tests need, of the bundle that setup/collections.txt pins; the product brings none
COLLECTIONS = (
    "community/docker", "community/library_inventory_filtering_v1", "community/proxmox",
    "ansible/netcommon", "ansible/utils", "cisco/ios",
)  # fmt: skip


def main(arguments: list[str]) -> None:
    """Prepare, and say what was done."""
    os.chdir(ROOT)
    os.umask(0o022)
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever comes with an older one is told
        sys.exit(f"gitmedic needs Python 3.11 or newer, this is {sys.version.split()[0]}: apt install python3")
    prepare_venv()
    is_for_tests = "--tests" in arguments
    absent = prepare_tools(DEMO_TOOLS | (TEST_TOOLS if is_for_tests else {}))
    absent += [*install_packages(TEST_PACKAGES), *prepare_collections()] if is_for_tests else []
    if absent:
        said = f"not to be had here: {', '.join(absent)} (no apt-get, it cannot download, or not root)"
        if os.environ.get("CI") == "true":
            sys.exit(said)
        say(f"{said}; what needs them says so or does without")


def prepare_venv() -> None:
    """The locked packages, and this checkout on the path, compiled."""
    lock = ROOT / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode() + str(ROOT).encode()).hexdigest()
    stamp = VENV / "prepared"
    if stamp.exists() and stamp.read_text() == digest:
        compile_bytecode([ROOT / "receiver"])  # what was edited since: a run never writes any
        return
    say("making .venv from requirements.lock (some 280 MB, once)")
    shutil.rmtree(VENV, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        run([uv, "venv", "--quiet", "--python", sys.executable, str(VENV)])
        install = [uv, "pip", "install", "--quiet", "--python", str(VENV / "bin/python"), "--link-mode", "copy"]
    else:
        make_venv()
        install = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*install, "--require-hashes", "-r", str(lock)])
    python = str(VENV / "bin/python")
    site = Path(read([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    # the checkout itself on the path: no build step, and what is edited is what runs
    (site / "gitmedic_checkout.pth").write_text(f"{ROOT}\n")
    script = VENV / "bin" / "gitmedic"
    script.write_text(f"#!{python}\nimport sys\n\nfrom receiver.__main__ import main\n\nsys.exit(main())\n")
    script.chmod(0o755)
    say("compiling bytecode")
    compile_bytecode([site, ROOT / "receiver"])
    stamp.write_text(digest)


def compile_bytecode(folders: list[Path]) -> None:
    """Of what has none yet, or an old one."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    compiled = [str(VENV / "bin/python"), "-m", "compileall", "-q", "-j", "0", *map(str, folders)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(compiled, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        process.wait(COMPILE_SECONDS)
    except subprocess.TimeoutExpired:
        say(f"compiling took longer than {COMPILE_SECONDS:.0f} s and was left; runs begin slower until it is done")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # and those that it started: one for each processor
            process.wait()


def make_venv() -> None:
    """With Debian's python3 the venv module may lack pip; say what to install then."""
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit("making .venv: this Python has no ensurepip: apt install python3-venv (or install uv)")


def install_packages(wanted: dict[str, str]) -> list[str]:
    """Debian packages that the machine lacks; gives the programs that cannot be had."""
    missing = [name for name in wanted if not shutil.which(name)]
    if not missing or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return missing
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *(wanted[name] for name in missing)]
    for command in (install, ["apt-get", "update", "-q"], install):
        say(f"{' '.join(command[:2])}: {', '.join(missing)}")
        if subprocess.run(command, capture_output=True, check=False, env=quiet).returncode == 0 and command is install:
            break
    return [name for name in missing if not shutil.which(name)]


def prepare_tools(wanted: dict[str, tuple[str, str]]) -> list[str]:
    """Link or unpack each tool; gives those that cannot be had."""
    bin_dir = TOOLS / "bin"
    bin_dir.mkdir(parents=True, exist_ok=True)
    missing = [name for name in wanted if not is_ready(name)]
    absent = []
    for name in missing:
        package, inside = wanted[name]
        found = next(filter(None, (shutil.which(one, path=SYSTEM) for one in names_of(name, package, inside))), None)
        program = Path(found) if found else unpack(package, inside, LIBRARIES.get(name, ()))
        if program is None:
            absent.append(name)
        else:
            link(name, program)
    return absent


def prepare_collections() -> list[str]:
    """The tests' collections below .tools, out of their bundle; the rest of it is thrown away."""
    target, pinned = TOOLS / "collections", ROOT / "setup" / "collections.txt"
    stamp, digest = target / "prepared", hashlib.sha256(repr(COLLECTIONS).encode() + pinned.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return []
    say("unpacking Ansible collections into .tools (some 54 MB are downloaded, once)")
    whole = TOOLS / "bundle"
    for place in (whole, target):
        shutil.rmtree(place, ignore_errors=True)
    uv, python = shutil.which("uv"), str(VENV / "bin/python")
    pip = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    command = [*pip, "--quiet", "--no-deps", "--target", str(whole), "--require-hashes", "-r", str(pinned)]
    try:
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return ["collections"]
        for name in COLLECTIONS:
            shutil.copytree(whole / "ansible_collections" / name, target / "ansible_collections" / name)
    finally:
        shutil.rmtree(whole, ignore_errors=True)
    stamp.write_text(digest)
    return []


def names_of(name: str, package: str, inside: str) -> tuple[str, ...]:
    """What a machine may already have it as: by our name, and by Debian's where that is the program's (one package
    may hold several programs, so its own name alone says nothing)."""
    return (name, package) if Path(inside).name == package else (name,)


def is_ready(name: str) -> bool:
    """A tool of ours that still leads somewhere."""
    return (TOOLS / "bin" / name).exists()


def unpack(package: str, inside: str, libraries: tuple[str, ...]) -> Path | None:
    """Download a Debian package and unpack it below .tools; None when that cannot be done."""
    target = TOOLS / "root"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return None
    if not (target / inside).exists():
        say(f"unpacking {package} into .tools")
        for name in (package, *libraries):
            if not download(name, target) and name == package:
                return None
    return target / inside if (target / inside).exists() else None


def download(package: str, target: Path) -> bool:
    """`apt-get download` and `dpkg-deb -x`; with package lists of our own when the machine has none."""
    cache = TOOLS / "packages"
    cache.mkdir(parents=True, exist_ok=True)
    if not any(cache.glob(f"{package}_*.deb")):
        for options in ((), own_lists()):
            command = ["apt-get", *options, "download", "--quiet", "--quiet", package]
            if subprocess.run(command, cwd=cache, capture_output=True, check=False).returncode == 0:
                break
    files = sorted(cache.glob(f"{package}_*.deb"))
    if not files:
        return False
    target.mkdir(parents=True, exist_ok=True)
    run(["dpkg-deb", "-x", str(files[-1]), str(target)])
    return True


def own_lists() -> tuple[str, ...]:
    """Options for apt-get that keep lists and cache below .tools, brought up to date once."""
    state = TOOLS / "apt"
    options = tuple(
        part
        for name, place in (("State::Lists", "lists"), ("Cache", "cache"), ("State::Status", "status"))
        for part in ("-o", f"Dir::{name}={state / place}")
    )
    if not state.exists():
        (state / "lists" / "partial").mkdir(parents=True)
        (state / "cache" / "archives" / "partial").mkdir(parents=True)
        (state / "status").touch()
        subprocess.run(["apt-get", *options, "-q", "update"], capture_output=True, check=False)
    return options


def at_home(program: Path) -> Path:
    """Debian's Alertmanager reads its templates from a fixed place in /usr/share, which is only there when it is
    installed. The unpacked copy is given a path of the same length, relative to where its wrapper starts it."""
    fixed = b"/usr/share/prometheus/alertmanager"
    content = program.read_bytes()
    if fixed not in content:
        return program
    told = program.with_name(f"{program.name}.unpacked")
    told.write_bytes(content.replace(fixed, b"./" * (len(fixed) // 2)))
    told.chmod(0o755)
    return told


def link(name: str, program: Path) -> None:
    """A wrapper in .tools/bin; unpacked programs find their unpacked libraries and templates."""
    wrapper = TOOLS / "bin" / name
    if name == "alertmanager" and TOOLS in program.parents:
        templates = TOOLS / "root" / "usr/share/prometheus/alertmanager"
        wrapper.unlink(missing_ok=True)
        wrapper.write_text(f'#!/bin/sh\ncd "{templates}" && exec "{at_home(program)}" "$@"\n')
        wrapper.chmod(0o755)
        return
    libraries = sorted({str(path.parent) for path in (TOOLS / "root").glob("**/*.so*")})
    lines = ["#!/bin/sh"]
    if libraries and TOOLS in program.parents and name in LIBRARIES:
        lines.append(f'LD_LIBRARY_PATH="{":".join(libraries)}" exec "{program}" "$@"')
        wrapper.unlink(missing_ok=True)
        wrapper.write_text("\n".join(lines) + "\n")
        wrapper.chmod(0o755)
    else:
        wrapper.unlink(missing_ok=True)
        wrapper.symlink_to(program)


def run(command: list[str]) -> None:
    """Or end with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:4])} … failed:\n{(done.stderr or done.stdout)[-2000:]}")


def read(command: list[str]) -> str:
    """What it prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def say(text: str) -> None:
    """To people."""
    print(f"prepare: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
