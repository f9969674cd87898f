"""A child that waits for its job, and how it is handed from the keeper to a handler: descriptors over a unix socket."""

import json
import os
import select
import socket
from dataclasses import dataclass
from typing import Final

_DESCRIPTORS: Final = ("init", "job", "stdout", "stderr", "status", "report", "notifications", "pidfd", "network", "template")
_MAX_MESSAGE_BYTES: Final = 4096


@dataclass
class ReadyChild:
    """Its cgroup leaf, the host uid of its job, and our ends of all that leads to it.

    `init` takes the volumes, `job` the order what to run; stdout, stderr, status and report are what comes out; `notifications` is where its refused
    system calls wait; `pidfd` is its init, `template` the container it lives in; `network` its network namespace.
    """

    leaf: str
    job_uid: int
    init: int
    job: int
    stdout: int
    stderr: int
    status: int
    report: int
    notifications: int
    pidfd: int
    network: int
    template: int

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
        message = json.dumps({"leaf": self.leaf, "job_uid": self.job_uid}).encode()
        socket.send_fds(receiver, [message], [getattr(self, name) for name in _DESCRIPTORS])

    @staticmethod
    def receive(sender: socket.socket) -> "ReadyChild | None":
        """Take it; None when the keeper has none to give."""
        message, descriptors, _, _ = socket.recv_fds(sender, _MAX_MESSAGE_BYTES, len(_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC)
        if not message or len(descriptors) != len(_DESCRIPTORS):
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        known = json.loads(message)
        return ReadyChild(known["leaf"], known["job_uid"], **dict(zip(_DESCRIPTORS, descriptors, strict=True)))

    def release_notifications(self) -> int:
        """Give the descriptor to a new owner: while any copy is open, the kernel lets refused calls wait."""
        released, self.notifications = self.notifications, -1
        return released

    def close(self) -> None:
        """Close every descriptor; a child that nobody else holds then ends by itself."""
        for name in _DESCRIPTORS:
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
