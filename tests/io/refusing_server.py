"""A PostgreSQL server that answers whoever wants to connect with the bytes it is given, as a program of its own.

With the port of another server it answers only the first one so; the next ones are passed on to there.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


def main(answer: bytes, other: int | None = None) -> None:
    """Serve until killed; the port is printed first."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        answered = False
        while True:
            connection, _ = listening.accept()
            if answered and other is not None:
                there = socket.create_connection(("127.0.0.1", other))
                for source, sink in ((connection, there), (there, connection)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()
                continue
            with connection:
                connection.settimeout(10)
                _answer(connection, answer)
                answered = True


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


def _answer(connection: socket.socket, answer: bytes) -> None:
    while len(begin := connection.recv(8)) == 8:
        length, kind = struct.unpack("!ii", begin)
        if kind not in (_SSL_REQUEST, _GSS_REQUEST):
            connection.recv(length - 8)
            connection.sendall(answer)
            return
        connection.sendall(b"N")


if __name__ == "__main__":
    main(bytes.fromhex(sys.argv[1]), *map(int, sys.argv[2:]))
