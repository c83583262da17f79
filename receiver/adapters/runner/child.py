"""The child process of one run, inside its sandbox: the only importer of ansible_runner.

    main()     # one JSON job on standard input, events as JSON lines out

Decides how a job becomes files that Ansible reads. Every string of a parameter or a host variable is wrapped
unsafe: Ansible templates raw extra vars and inventory values on the controller, so `{{ lookup("pipe", …) }}` in one
would run here (promise P5). Standard input stays open as a lifeline: when it closes, everything of the run ends.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from receiver.adapters.runner.clean import clean
from receiver.adapters.runner.events import Reader
from receiver.adapters.runner.kin import MARK, sweep
from receiver.adapters.runner.limits import Fullness, cause, set_own, words
from receiver.adapters.runner.seen import seen_environment, seen_variables
from receiver.domain.run import Job, JobHost, RunResult

_PARAM = re.compile(r"[a-z][a-z0-9_]{0,40}", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9._:/+-]*", re.ASCII)
_UNTRUSTED = "_ANSIBLE_TEMPLAR_UNTRUSTED_TEMPLATE_BEHAVIOR"
_SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> None:
    """Read the job, run it, say how it ended."""
    os.umask(0o077)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # whatever else prints goes to standard error
    job = Job.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_lifeline, daemon=True).start()
    set_own(job)
    base = Path.cwd()
    result = run(job, base, out)
    _say(out, {"result": result.model_dump(mode="json")})
    out.flush()
    os._exit(0)  # no thread of ansible-runner may keep the process


def run(job: Job, base: Path, out: TextIO) -> RunResult:
    """One playbook run; always gives a result."""
    import ansible_runner  # noqa: PLC0415 - costs a third of a second, and only a run needs it

    _close_at_once()
    began = datetime.now(UTC)
    reader = Reader(check=job.mode == "check")
    handler = _writer(reader, out)
    full = Fullness(job, base, lambda key: _say(out, {"limit": key}))
    try:
        home = materialise(job, base)
        done = ansible_runner.run(
            private_data_dir=str(home),
            playbook="playbook.yml",
            ident="run",
            quiet=True,
            event_handler=handler,
            cancel_callback=lambda: False,  # without one, runner takes over the signals for good
            forks=max(1, len(job.hosts)),
        )
        status, rc = str(done.status), done.rc
    except Exception as error:
        status, rc = "failed", None
        reader.failure = reader.failure or clean(f"{type(error).__name__}: {error}")
    skips = base / "skips"
    if skips.exists():
        reader.read_skips(skips.read_text("utf-8"))
    why = judge(job, status, reader)
    limit = cause(job, f"{why} {reader.said}", was_full=full.was_full) if why else ""
    return RunResult(
        status="failed" if why else "successful",
        rc=rc,
        why=f"{words(job, limit)}: {why}" if limit else why,
        limit=limit,
        stats=reader.stats,
        changes=tuple(reader.changes),
        not_previewable=tuple(dict.fromkeys(reader.not_previewable)),
        preview_ends=tuple(f"{host}: {task}" for host, task in reader.preview_ends.items()),
        started_at=began,
        ended_at=datetime.now(UTC),
        isolation=job.isolation,
    )


def _close_at_once() -> None:
    """Where the program has ended, its terminal is closed without the tenth of a second that pexpect waits for it."""
    import pexpect  # type: ignore[import-untyped] # noqa: PLC0415 - as ansible_runner, which uses it

    class Terminal(pexpect.spawn):  # type: ignore[misc] # it has no types
        def close(self, force: bool = True) -> None:
            if not self.isalive():
                self.ptyproc.delayafterclose = 0
            super().close(force=force)

    pexpect.spawn = Terminal


def judge(job: Job, status: str, reader: Reader) -> str:
    """Why the run was no success; empty when it was. A green status is not enough: it also comes when no
    host matched."""
    wanted = {host.name for host in job.hosts}
    if not wanted:
        return "the job names no host"
    if not reader.has_stats:
        return reader.failure or f"Ansible ended {status} before it came to any host"
    if set(reader.stats) != wanted:
        missing = sorted(wanted - set(reader.stats)) or sorted(set(reader.stats) - wanted)
        return f"the run did not reach exactly the approved hosts: {', '.join(missing)}"
    # a dry run that could not go on because a task before was not previewed: the reader knows which
    excused = {name: int(name in reader.preview_ends) for name in reader.stats}
    bad = [name for name, one in reader.stats.items() if one.failures > excused[name] or one.unreachable]
    is_excused = status == "failed" and bool(reader.preview_ends)
    if bad or (status != "successful" and not is_excused):
        return reader.failure or f"Ansible ended {status} on {', '.join(bad)}"
    return ""


def materialise(job: Job, base: Path) -> Path:
    """The private directory that ansible-runner reads; made anew for each run."""
    home = base / "pdd"
    for folder in ("project", "inventory", "env"):
        (home / folder).mkdir(parents=True)
    for folder in ("home", "tmp"):
        (base / folder).mkdir()
    for name, content in job.files.items():
        target = (home / "project" / name).resolve()
        if not target.is_relative_to((home / "project").resolve()):
            raise ValueError(f"the file {name!r} lies outside the playbook")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    _write(home / "inventory" / "hosts.json", inventory(job, base))
    _write(home / "env" / "extravars", extra_variables(job.params) | seen_variables(base))
    _write(home / "env" / "envvars", environment(base) | seen_environment(base))
    cmdline = "--check --diff" if job.mode == "check" else "--diff"
    (home / "env" / "cmdline").write_text(cmdline)
    _write(home / "env" / "settings", {"job_timeout": job.timeout_seconds, "suppress_output_file": True})
    (base / "safe.cfg").write_text("")
    return home


def inventory(job: Job, base: Path) -> dict[str, Any]:
    """Only the approved hosts, in the one group `targets`."""
    hosts = {host.name: host_variables(host, base) for host in job.hosts}
    return {"all": {"children": {"targets": {"hosts": hosts}}}}


def host_variables(host: JobHost, base: Path) -> dict[str, Any]:
    """Typed connection variables as plain text, everything else wrapped unsafe."""
    found: dict[str, Any] = {
        "ansible_connection": host.connection,
        "ansible_python_interpreter": plain(host.python or (sys.executable if host.connection == "local" else "")),
        "ansible_become": host.become,
    }
    if host.connection == "ssh":
        found |= {
            "ansible_host": plain(host.address),
            "ansible_port": host.port,
            "ansible_user": plain(host.user),
            "ansible_ssh_common_args": f"-F {plain(str(base / 'ssh_config'))}{_by_way_of(host)}",
        }
    else:
        found["ansible_remote_tmp"] = plain(str(base / "tmp"))
    for name, value in host.variables.items():
        if name.startswith("ansible_") or not _PARAM.fullmatch(name):
            raise ValueError(f"host {host.name}: the variable {name!r} may not enter a run")
        found[name] = unsafe(value)
    return {name: value for name, value in found.items() if value != ""}


def _by_way_of(host: JobHost) -> str:
    """The jump hosts, in order; each is met with the same configuration, since ssh hands `-F` on."""
    hops = []
    for hop in host.jump:
        where = f"[{plain(hop.address)}]:{hop.port}"
        hops.append(f"{plain(hop.user)}@{where}" if hop.user else where)
    return f" -o ProxyJump={','.join(hops)}" if hops else ""


def extra_variables(params: dict[str, Any]) -> dict[str, Any]:
    """`gm_<name>` for each parameter, wrapped unsafe; any other name is refused."""
    for name in params:
        if not _PARAM.fullmatch(name):
            raise ValueError(f"the parameter {name!r} may not enter a run")
    return {f"gm_{name}": unsafe(value) for name, value in params.items()}


def unsafe(value: Any) -> Any:
    """Strings marked so that Ansible never evaluates them, at any depth."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, dict):
        return {str(key): unsafe(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [unsafe(one) for one in value]
    return value


def plain(value: str) -> str:
    """Connection values are trusted by Ansible, so they must be nothing but plain."""
    if not _PLAIN.fullmatch(value):
        raise ValueError(f"the connection value {value!r} is not plain")
    return value


def environment(base: Path) -> dict[str, str]:
    """All that a run sees of an environment."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{_SAFE_PATH}",
        "HOME": str(base / "home"),
        "TMPDIR": str(base / "tmp"),  # what a killed module leaves goes with the run's directory
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",  # a run must leave nothing in the checkout
        "ANSIBLE_HOME": str(base / "home" / ".ansible"),
        "ANSIBLE_CONFIG": str(base / "safe.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(base / "tmp"),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
        "GITMEDIC_SKIPS": str(base / "skips"),
        "ANSIBLE_COLLECTIONS_PATH": str(base / "collections"),
        # else Ansible also takes roles from /etc and /usr/share, and loads what lies beside its own program: none of
        # that was merged
        "ANSIBLE_ROLES_PATH": str(base / "pdd" / "project" / "roles"),
        "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "False",
        "ANSIBLE_INVENTORY_ENABLED": "yaml",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_GATHERING": "explicit",  # facts only where a play asks: half a second a host
        "ANSIBLE_PIPELINING": "False",  # with it there is no terminal over there, whose hangup ends what runs
        "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        "ANSIBLE_RETRY_FILES_ENABLED": "False",
        _UNTRUSTED: "error",
        MARK: os.environ.get(MARK, ""),
    }


def _writer(reader: Reader, out: TextIO) -> Any:
    """Never blocks for long and never raises: ansible-runner would tear the play down."""

    def write(event: dict[str, Any]) -> bool:
        try:
            line = reader.read(event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            print(f"event not understood: {error!r}", file=sys.stderr)
            line = None
        if line is not None:
            _say(out, {"event": line.model_dump(mode="json")})
        return False

    return write


def _say(out: TextIO, line: dict[str, Any]) -> None:
    """In one write: several threads speak, and half a line of one would spoil that of another."""
    out.write(json.dumps(line) + "\n")


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _lifeline() -> None:
    """When the executor is gone, so is the run."""
    while sys.stdin.buffer.read(4096):
        pass
    sweep(os.environ.get(MARK, ""))
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
