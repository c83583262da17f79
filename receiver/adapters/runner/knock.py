"""Asks the gate for a way to one host, and hands it to ssh: the ProxyCommand of a run without a network.

    python -I -S knock.py /job/gate/sock ADDRESS PORT

Standard library only. Decides nothing: the gate does. Gives the gate's words when it refuses.
"""

from __future__ import annotations

import socket
import sys


def main() -> None:
    """Standard output is the socket on which ssh waits for its connection."""
    place, address, port = sys.argv[1:]
    way = socket.socket(socket.AF_UNIX)
    way.connect(place)
    way.sendall(f"{address} {port}\n".encode())
    answer = b""
    while not answer.endswith(b"\n") and (byte := way.recv(1)):
        answer += byte
    if answer != b"\n":
        sys.exit(answer.decode("ascii", "replace").strip() or "the gate is closed")
    with socket.socket(fileno=1) as ssh:
        socket.send_fds(ssh, [b"\0"], [way.fileno()])


if __name__ == "__main__":
    main()
