"""A client of one stream whose machine loses its network: from then on its kernel hears nothing, and answers nothing."""

import ctypes
import socket
import struct
import sys

SO_ATTACH_FILTER = 26
# One instruction of classic BPF: keep nothing of a packet. TCP itself never sees it.
DROP = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))


def main() -> None:
    port, path, token = sys.argv[1:]
    client = socket.create_connection(("127.0.0.1", int(port)))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    text = b""
    while b"event: progress" not in text:
        text += client.recv(65536)
    client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxP", 1, ctypes.addressof(DROP)))
    print("gone", flush=True)
    sys.stdin.read()


main()
