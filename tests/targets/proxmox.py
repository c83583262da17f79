"""A double of Proxmox VE's API: HTTPS with an authority of its own, API tokens, tasks that take a moment.

Every request is held against the vendor's own description when it is here (see `tests/forges/schema.py` for where it is
looked for), else against a reduced one written after https://pve.proxmox.com/pve-docs/api-viewer/. It answers as
Proxmox does: 400 with a word for each wrong field, 401 for a token, 403 for a right that is missing, 500 for a guest
that is not there, 501 for what the API does not have.
"""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.forges.schema import spec_folder

USER, TOKEN_ID, SECRET = "gitmedic@pve", "runs", "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0"
_NODE = {"node": {"type": "string", "format": "pve-node"}}
_GUEST = {**_NODE, "vmid": {"type": "integer", "minimum": 100, "maximum": 999999999}}
_TASK = {**_NODE, "upid": {"type": "string"}}
_TIMEOUT = {"timeout": {"type": "integer", "minimum": 0, "optional": 1}}


def _said(properties: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": {"additionalProperties": 0, "properties": properties}}


def reduced() -> dict[str, Any]:
    """What the double has, in the form of the vendor's own description."""
    found: dict[str, Any] = {
        "/version": {"GET": _said({})},
        "/nodes": {"GET": _said({})},
        "/cluster/resources": {
            "GET": _said({"type": {"enum": ["vm", "storage", "node", "sdn"], "optional": 1, "type": "string"}})
        },
        "/nodes/{node}/tasks/{upid}/status": {"GET": _said(_TASK)},
        "/nodes/{node}/tasks/{upid}/log": {"GET": _said(_TASK)},
    }
    for kind in ("qemu", "lxc"):
        place = f"/nodes/{{node}}/{kind}"
        found[place] = {"GET": _said(_NODE)}
        found[f"{place}/{{vmid}}/status/current"] = {"GET": _said(_GUEST)}
        for act in ("start", "stop", "shutdown", "reboot"):
            force = {"forceStop": {"type": "boolean", "optional": 1}} if act == "shutdown" else {}
            found[f"{place}/{{vmid}}/status/{act}"] = {"POST": _said({**_GUEST, **_TIMEOUT, **force})}
        name = {"snapname": {"type": "string", "maxLength": 40}}
        more = {"description": {"type": "string", "optional": 1}, "vmstate": {"type": "boolean", "optional": 1}}
        found[f"{place}/{{vmid}}/snapshot"] = {"GET": _said(_GUEST), "POST": _said({**_GUEST, **name, **more})}
    return found


@dataclass
class Guest:
    """One guest of the one node."""

    vmid: int
    kind: str
    name: str
    status: str = "stopped"
    lock: str = ""
    starts: bool = True
    snapshots: list[str] = field(default_factory=list)


class Refusal(Exception):
    """An answer that is none of the good ones."""

    def __init__(self, status: int, said: str, errors: dict[str, str] | None = None) -> None:
        super().__init__(said)
        self.status, self.said, self.errors = status, said, errors


class Proxmox:
    """One node with guests."""

    node = "pve1"

    def __init__(self, base: Path) -> None:
        self.ca, certificate = make_certificates(base)
        folder = spec_folder()
        file = folder / "proxmox-ve-apischema.json" if folder else None
        self.is_official = bool(file and file.is_file())
        self._schema: dict[str, Any] = json.loads(file.read_text()) if file and self.is_official else reduced()
        self.guests: dict[int, Guest] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.violations: list[str] = []
        self.refuse_all: tuple[int, str] | None = None
        self._tasks: dict[str, tuple[float, str]] = {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def add(self, vmid: int, kind: str = "qemu", **more: Any) -> Guest:
        """A guest, stopped unless said otherwise."""
        self.guests[vmid] = Guest(vmid=vmid, kind=kind, name=f"guest{vmid}", **more)
        return self.guests[vmid]

    def acts(self) -> list[str]:
        """What was asked to be done, in order."""
        return [path for method, path, _ in self.requests if method != "GET"]

    def close(self) -> None:
        """No port and no thread is left."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, words: dict[str, str], token: str) -> Any:
        """The data of an answer, or a `Refusal`."""
        self.requests.append((method, path, words))
        if token != f"PVEAPIToken={USER}!{TOKEN_ID}={SECRET}":
            raise Refusal(401, "authentication failure" if token else "No ticket")
        if self.refuse_all:
            raise Refusal(*self.refuse_all)
        inside = path.removeprefix("/api2/json")
        template, found = self._operation(method, inside)
        self._check(template, method, {**words, **found})
        parts = template.strip("/").split("/")
        if "node" in found and found["node"] != self.node:
            raise Refusal(500, f"hostname lookup '{found['node']}' failed - no such node")
        if template.startswith("/nodes/{node}/tasks/"):
            return self._task(found["upid"], parts[-1])
        if "vmid" in found:
            return self._guest(method, parts, int(found["vmid"]), words)
        return self._list(template, words)

    def _operation(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        for template, methods in self._schema.items():
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
            match = re.fullmatch(pattern, path)
            if match and method in methods:
                return template, {name: unquote(value) for name, value in match.groupdict().items()}
        self.violations.append(f"{method} {path}: the API has no such method")
        raise Refusal(501, f"Method '{method} {path}' not implemented")

    def _check(self, template: str, method: str, given: dict[str, str]) -> None:
        """Names, types, choices, ranges and patterns, each field by itself."""
        said = self._schema[template][method]
        if said.get("allowtoken") == 0:
            raise Refusal(403, "API tokens are not allowed here")
        properties = said["parameters"].get("properties", {})
        errors = {
            name: "property is not defined in schema and the schema does not allow additional properties"
            for name in given
            if name not in properties
        }
        for name, about in properties.items():
            if name in given:
                if word := wrong(given[name], about):
                    errors[name] = word
            elif not about.get("optional"):
                errors[name] = "property is missing and it is not optional"
        if errors:
            self.violations.append(f"{method} {template}: {errors}")
            raise Refusal(400, "Parameter verification failed.", errors)

    def _list(self, template: str, words: dict[str, str]) -> Any:
        if template == "/version":
            return {"version": "9.1.3", "release": "9.1", "repoid": "0000000000000000"}
        if template == "/nodes":
            return [{"node": self.node, "status": "online", "type": "node", "id": f"node/{self.node}"}]
        if template == "/cluster/resources":
            nodes = [{"id": f"node/{self.node}", "node": self.node, "type": "node", "status": "online"}]
            guests = [self._row(one) | {"type": one.kind, "id": f"{one.kind}/{one.vmid}"} for one in self._all()]
            wanted = words.get("type")
            return guests if wanted == "vm" else nodes if wanted == "node" else [*nodes, *guests]
        kind = template.rsplit("/", 1)[-1]
        return [self._row(one) for one in self._all() if one.kind == kind]

    def _guest(self, method: str, parts: list[str], vmid: int, words: dict[str, str]) -> Any:
        kind, act = parts[2], parts[-1]
        guest = self.guests.get(vmid)
        if guest is None or guest.kind != kind:
            file = f"nodes/{self.node}/{'qemu-server' if kind == 'qemu' else 'lxc'}/{vmid}.conf"
            raise Refusal(500, f"Configuration file '{file}' does not exist")
        if act == "current":
            return self._row(guest)
        if act == "snapshot" and method == "GET":
            return [{"name": name} for name in (*guest.snapshots, "current")]
        if act == "snapshot":
            guest.snapshots.append(words["snapname"])
            return self._begin("snapshot", guest, "OK")
        return self._act(guest, act)

    def _act(self, guest: Guest, act: str) -> str:
        if guest.lock:
            return self._begin(act, guest, f"VM is locked ({guest.lock})")
        if (act == "start") == (guest.status == "running"):
            word = "already running" if act == "start" else "not running"
            return self._begin(act, guest, f"VM {guest.vmid} {word}")
        if not guest.starts:
            return self._begin(act, guest, "start failed: QEMU exited with code 1")
        guest.status = "stopped" if act in ("stop", "shutdown") else "running"
        return self._begin(act, guest, "OK")

    def _begin(self, act: str, guest: Guest, end: str) -> str:
        kind = f"{'qm' if guest.kind == 'qemu' else 'vz'}{act}"
        upid = (
            f"UPID:{self.node}:{len(self._tasks) + 4096:08X}:00A1B2C3:6A0F0000:{kind}:{guest.vmid}:{USER}!{TOKEN_ID}:"
        )
        self._tasks[upid] = (time.monotonic() + 0.3, end)
        return upid

    def _task(self, upid: str, what: str) -> Any:
        if upid not in self._tasks:
            raise Refusal(400, "Parameter verification failed.", {"upid": "unable to parse worker upid"})
        over, end = self._tasks[upid]
        if what == "log":
            return [{"n": 1, "t": f"TASK {'OK' if end == 'OK' else f'ERROR: {end}'}"}]
        if time.monotonic() < over:
            return {"upid": upid, "node": self.node, "status": "running"}
        return {"upid": upid, "node": self.node, "status": "stopped", "exitstatus": end}

    def _all(self) -> list[Guest]:
        return [self.guests[vmid] for vmid in sorted(self.guests)]

    def _row(self, guest: Guest) -> dict[str, Any]:
        row = {
            "vmid": guest.vmid, "name": guest.name, "status": guest.status, "node": self.node, "template": 0,
            "uptime": 60 if guest.status == "running" else 0, "maxmem": 1 << 30, "cpus": 1,
        }  # fmt: skip
        return row | ({"lock": guest.lock} if guest.lock else {})


def wrong(value: str, about: dict[str, Any]) -> str:
    """What Proxmox would say of a field; empty when it is right."""
    kind = about.get("type", "string")
    if kind == "integer" and not re.fullmatch(r"-?\d+", value):
        return f"type check ('integer') failed - got '{value}'"
    if kind == "boolean" and value.lower() not in ("0", "1", "true", "false", "yes", "no", "on", "off"):
        return f"type check ('boolean') failed - got '{value}'"
    if kind in ("integer", "number"):
        if "minimum" in about and float(value) < about["minimum"]:
            return f"value must have a minimum value of {about['minimum']}"
        if "maximum" in about and float(value) > about["maximum"]:
            return f"value must have a maximum value of {about['maximum']}"
    if "enum" in about and value not in about["enum"]:
        return f"value '{value}' does not have a value in the enumeration '{', '.join(about['enum'])}'"
    if "maxLength" in about and len(value) > about["maxLength"]:
        return f"value may only be {about['maxLength']} characters long"
    if "pattern" in about and not re.fullmatch(about["pattern"], value):
        return "value does not match the regex pattern"
    return ""


def make_certificates(base: Path) -> tuple[Path, Path]:
    """An authority, and a certificate of 127.0.0.1 with its key in one file."""
    now = datetime.datetime.now(datetime.UTC)

    def build(name: str, issuer: str, key: Any, signer: Any, extension: Any, *, is_ca: bool) -> Any:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(extension, critical=False)
            .sign(signer, hashes.SHA256())
        )  # fmt: skip

    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = "Proxmox Virtual Environment"
    known = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    root = build(name, name, authority, authority, known, is_ca=True)
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = build("pve1", name, own, authority, alternative, is_ca=False)
    pem = serialization.Encoding.PEM
    secret = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (base / "pve-root-ca.pem").write_bytes(root.public_bytes(pem))
    (base / "pve.pem").write_bytes(secret + leaf.public_bytes(pem))
    return base / "pve-root-ca.pem", base / "pve.pem"


def _handler(proxmox: Proxmox) -> type[http.server.BaseHTTPRequestHandler]:
    class Api(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            words = dict(parse_qsl(parts.query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True))
            token = self.headers.get("Authorization", "")
            try:
                self._say(200, "OK", {"data": proxmox.answer(self.command, parts.path, words, token)})
            except Refusal as no:
                said: dict[str, Any] = {"data": None, "message": f"{no.said}\n"}
                self._say(no.status, no.said, said | ({"errors": no.errors} if no.errors else {}))

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def _say(self, status: int, reason: str, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status, reason)
            self.send_header("Content-Type", "application/json;charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            return

        def handle(self) -> None:
            with contextlib.suppress(OSError):  # a client that does not believe the certificate goes away
                super().handle()

    return Api


@contextlib.contextmanager
def proxmox(base: Path) -> Iterator[Proxmox]:
    """One double; at the end nothing that it was asked may have broken the API's own description."""
    made = Proxmox(base)
    try:
        yield made
    finally:
        made.close()
