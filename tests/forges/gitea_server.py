"""A real Gitea or Forgejo on loopback, from a binary that `GITMEDIC_TEST_GITEA` names: one repository for each test.

Decides nothing; people act through its REST API with tokens of their own.
"""

from __future__ import annotations

import base64
import getpass
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from tests.contract.places import PEOPLE, Place, path_of

_SETTINGS = """\
APP_NAME = forge
RUN_MODE = prod
RUN_USER = {user}
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = {folder}
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
DISABLE_SSH = true
OFFLINE_MODE = true
LFS_START_SERVER = false
{static}
[database]
DB_TYPE = sqlite3
PATH = {folder}/forge.db
SQLITE_JOURNAL_MODE = WAL
[repository]
ROOT = {folder}/repositories
[security]
INSTALL_LOCK = true
PASSWORD_HASH_ALGO = pbkdf2_v1
ALLOWED_HOST_LIST = loopback
[webhook]
ALLOWED_HOST_LIST = loopback
[service]
DISABLE_REGISTRATION = true
[oauth2]
ENABLED = false
[actions]
ENABLED = false
[packages]
ENABLED = false
[cron]
ENABLED = false
[cron.update_checker]
ENABLED = false
[indexer]
ISSUE_INDEXER_TYPE = db
[session]
PROVIDER = memory
[log]
MODE = console
LEVEL = Warn
ROOT_PATH = {folder}/log
"""
_SCOPES = "write:repository,write:issue,read:user"


class GiteaServer:
    """Runs one; a context manager."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary, self._folder = binary.resolve(), folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._settings = folder / "app.ini"
        # a binary that was built without its files looks for them beside itself
        static = f"STATIC_ROOT_PATH = {self._binary.parent}" if (self._binary.parent / "templates").is_dir() else ""
        self._settings.write_text(
            _SETTINGS.format(user=getpass.getuser(), folder=folder, port=port, static=static), "utf-8"
        )
        self.tokens: dict[str, str] = {}
        self.ids: dict[str, int] = {}
        self._made = 0

    def __enter__(self) -> GiteaServer:
        self._run("migrate")
        for login in ("ops", *PEOPLE):
            named = ("--username", login, "--email", f"{login}@example.org")
            self._run("admin", "user", "create", *named, "--random-password", "--must-change-password=false")
            made = self._run(
                "admin", "user", "generate-access-token", "--username", login, "--token-name", "t", "--raw", "--scopes",
                _SCOPES if login == "gitmedic-bot" else "all",
            )  # fmt: skip
            self.tokens[login] = made.strip().splitlines()[-1]
        self._log = (self._folder / "forge.log").open("wb")
        self._process = subprocess.Popen(
            [self._binary, "web", "--config", self._settings],
            stdout=self._log, stderr=self._log, env=self._environment(),
        )  # fmt: skip
        until = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the forge does not start: {self._said()}")
            time.sleep(0.1)
        self.ids = {login: self.ask(login, "GET", "user")["id"] for login in self.tokens}
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def ask(self, login: str, method: str, path: str, body: Any = None, *, fine: tuple[int, ...] = ()) -> Any:
        """One request as a person; the JSON of its answer, or the status where it is one of `fine`."""
        answer = httpx.request(
            method, f"{self.url}/api/v1/{path}", json=body, timeout=30, trust_env=False,
            headers={"Authorization": f"token {self.tokens[login]}"},
        )  # fmt: skip
        if answer.status_code in fine:
            return answer.status_code
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.content else None

    def repository(self, bare: Path) -> dict[str, Any]:
        """A new one of `ops` with the usual people, grown from this one's main."""
        self._made += 1
        made: dict[str, Any] = self.ask("ops", "POST", "user/repos", {"name": f"infra{self._made}", "private": True})
        self.push("ops", bare, f"ops/infra{self._made}", "refs/heads/main:refs/heads/main")
        for login, right in PEOPLE.items():
            self.ask("ops", "PUT", f"repos/{made['full_name']}/collaborators/{login}", {"permission": right})
        self.ask("ops", "PATCH", f"repos/{made['full_name']}", {"default_branch": "main"})
        return made

    def push(self, login: str, bare: Path, name: str, *what: str, fetch: bool = False) -> None:
        """By real git, from a repository on this machine; or all branches into it."""
        basic = base64.b64encode(f"{login}:{self.tokens[login]}".encode()).decode()
        header = f"http.extraHeader=Authorization: Basic {basic}"
        doing = ("fetch", "-q", f"{self.url}/{name}.git", "+refs/heads/*:refs/heads/*")
        options, refs = [one for one in what if ":" not in one], [one for one in what if ":" in one]
        subprocess.run(
            ["git", "--git-dir", str(bare), "-c", header,
             *(doing if fetch else ("push", "-q", *options, f"{self.url}/{name}.git", *refs))],
            check=True, capture_output=True, env={**self._environment(), "GIT_TERMINAL_PROMPT": "0"},
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self._folder), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [self._binary, "--config", self._settings, *arguments],
            capture_output=True, text=True, check=False, env=self._environment(),
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout[-500:]} {done.stderr[-500:]}"
        return done.stdout

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v1/version", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _said(self) -> str:
        return (self._folder / "forge.log").read_text("utf-8", "replace")[-1000:]


class RealGitea(Place):
    """The place of the contract on a real server."""

    merges_as_bot = True
    styles = ("merge", "squash", "rebase")
    server: GiteaServer
    name: str  #: owner and name of the repository

    def ask(self, person: str, method: str, path: str, body: Any = None, *, fine: tuple[int, ...] = ()) -> Any:
        """Below the repository, as a person."""
        return self.server.ask(person, method, f"repos/{self.name}/{path}".rstrip("/"), body, fine=fine)

    def account(self, person: str) -> Any:
        return self.bot.model_copy(update={"id": str(self.server.ids[person]), "login": person})

    async def protect(self) -> None:
        rule = {"rule_name": "main", "required_approvals": 1, "block_admin_merge_override": True,
                "apply_to_admins": True, "enable_push": False}  # fmt: skip
        self.ask("ada", "POST", "branch_protections", rule)

    async def approves(self, person: str, number: int) -> None:
        self.ask(person, "POST", f"pulls/{number}/reviews", {"event": "APPROVED", "body": ""})

    async def merges(self, person: str, number: int, style: str = "merge") -> None:
        for _ in range(40):
            body = {"Do": style, "do": style}
            if self.ask(person, "POST", f"pulls/{number}/merge", body, fine=(405,)) != 405:
                return
            time.sleep(0.25)
        raise AssertionError("it does not merge")

    async def closes(self, person: str, number: int) -> None:
        self.ask(person, "PATCH", f"pulls/{number}", {"state": "closed"})

    async def pushes(self, person: str, number: int) -> str:
        branch = self.ask(person, "GET", f"pulls/{number}")["head"]["label"]
        place = f"contents/{path_of(branch.rpartition('/')[2])}"
        there = self.ask(person, "GET", f"{place}?ref={branch}")
        body = {"content": base64.b64encode(b"edited").decode(), "sha": there["sha"], "branch": branch, "message": "e"}
        return str(self.ask(person, "PUT", place, body)["commit"]["sha"])

    async def tip(self) -> str:
        return str(self.ask("ada", "GET", "branches/main")["commit"]["id"])
