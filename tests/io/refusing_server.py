"""A PostgreSQL server that answers whoever wants to connect with the bytes it is given, as a program of its own."""

from __future__ import annotations

import socket
import struct
import sys

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


def main(answer: bytes) -> None:
    """Serve until killed; the port is printed first."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(10)
                _answer(connection, answer)


def _answer(connection: socket.socket, answer: bytes) -> None:
    while len(begin := connection.recv(8)) == 8:
        length, kind = struct.unpack("!ii", begin)
        if kind not in (_SSL_REQUEST, _GSS_REQUEST):
            connection.recv(length - 8)
            connection.sendall(answer)
            return
        connection.sendall(b"N")


if __name__ == "__main__":
    main(bytes.fromhex(sys.argv[1]))
