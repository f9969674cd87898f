"""A child that waits for its job, and how it is handed from the keeper to a handler: descriptors over a unix socket."""

import os
import select
import socket
from dataclasses import dataclass
from typing import Final

_VOLUMES: Final = ("files", "inputs", "tmp", "shm")
_DESCRIPTORS: Final = ("job", "stdout", "stderr", "status", "report", "notifications", "pidfd", "mounts", "network", "template", *_VOLUMES)
_MAX_MESSAGE_BYTES: Final = 4096


@dataclass
class ReadyChild:
    """Its cgroup leaf, and our ends of all that leads to it.

    `job` takes the order what to run; stdout, stderr, status and report are what comes out; `notifications` is where its refused
    system calls wait; `pidfd` is its init, `template` the container it lives in; `mounts` and `network` are its namespaces; `files`, `inputs`, `tmp` and `shm` are its volumes, attached in it.
    """

    leaf: str
    job: int
    stdout: int
    stderr: int
    status: int
    report: int
    notifications: int
    pidfd: int
    mounts: int
    network: int
    template: int
    files: int
    inputs: int
    tmp: int
    shm: int

    @property
    def signs_of_death(self) -> tuple[int, int]:
        """Readable when init or the job have ended; nothing else is to be heard of a child that waits."""
        return (self.pidfd, self.job)

    @property
    def is_waiting(self) -> bool:
        """False when it has died while it was kept."""
        poller = select.poll()
        for descriptor in self.signs_of_death:
            poller.register(descriptor, select.POLLIN)
        return not poller.poll(0)

    def send(self, receiver: socket.socket) -> None:
        """Hand it over; the descriptors here stay open until `close`."""
        socket.send_fds(receiver, [self.leaf.encode()], [getattr(self, name) for name in _DESCRIPTORS])

    @staticmethod
    def receive(sender: socket.socket) -> "ReadyChild | None":
        """Take it; None when the keeper has none to give."""
        message, descriptors, _, _ = socket.recv_fds(sender, _MAX_MESSAGE_BYTES, len(_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC)
        if not message or len(descriptors) != len(_DESCRIPTORS):
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        return ReadyChild(message.decode(), **dict(zip(_DESCRIPTORS, descriptors, strict=True)))

    def release_notifications(self) -> int:
        """Give the descriptor to a new owner: while any copy is open, the kernel lets refused calls wait."""
        return self._release("notifications")

    def release_volumes(self) -> tuple[int, int, int, int]:
        """Give the descriptors of the volumes to a new owner."""
        return (self._release("files"), self._release("inputs"), self._release("tmp"), self._release("shm"))

    def _release(self, name: str) -> int:
        released = int(getattr(self, name))
        setattr(self, name, -1)
        return released

    def close(self) -> None:
        """Close every descriptor; the job of a child that nobody else holds then ends by itself."""
        for name in _DESCRIPTORS:
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
