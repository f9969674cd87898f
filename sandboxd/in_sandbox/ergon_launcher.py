"""PID 1 of a template's sandbox, and small: forks the template, makes the namespaces of each job, and reports how jobs end.

The template is large, and what a fork costs grows with what a process holds. So the init of a job comes from here, the job
alone from the template; it becomes a child of this process too, which thus sees its wait status and outlives the template.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket

import ergon_kernel as kernel
from ergon_warm_init import Enclosure, become_init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

STATUS_FD, CONTROL_FD = 3, 4
_NAMESPACES = kernel.NEW_USER | kernel.NEW_MOUNTS | kernel.NEW_PIDS | kernel.NEW_NETWORK | kernel.NEW_IPC | kernel.NEW_UTS
_MAX_UNCLAIMED = 64


def main(settings_text: str) -> NoReturn:
    """`settings_text` is JSON: imports, masked, read_only, filter."""
    settings = json.loads(settings_text)
    os.write(STATUS_FD, b"started\n")
    os.close(STATUS_FD)
    control = socket.socket(fileno=CONTROL_FD)
    ours, templates = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        control.close()
        from ergon_template import serve

        serve(templates, settings)
    templates.close()
    socket.send_fds(control, [b"template"], [ours.fileno()])
    ours.close()
    Launcher(control, Enclosure.read(settings["masked"], settings["read_only"])).run()


class Launcher:
    """Serves sandboxd until it closes the control socket, then until the last child has ended."""

    def __init__(self, control: socket.socket, enclosure: Enclosure) -> None:
        self._control: socket.socket | None = control
        self._enclosure = enclosure
        # Where to report how a job ended: by sandboxd's number while it is made, by process when it is known.
        self._made: dict[int, int] = {}
        self._jobs: dict[int, int] = {}
        self._inits: set[int] = set()
        # Of children that are being made, should one end before sandboxd has told its number. Numbers are used again:
        # whatever is older must not speak for a new job. All of a living template are told of: this is for those that are not.
        self._unclaimed: dict[int, int] = {}

    def run(self) -> NoReturn:
        """Serve; never returns."""
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        while True:
            poller = select.poll()
            poller.register(reading, select.POLLIN)
            if self._control is not None:
                poller.register(self._control, select.POLLIN)
            for fd, _ in poller.poll():
                if fd == reading:
                    os.read(reading, 4096)
                    self._reap()
                elif self._control is not None:
                    self._obey(self._control)

    def _reap(self) -> None:
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._on_end(pid, status)
        except ChildProcessError:
            if self._control is None:
                os._exit(0)

    def _on_end(self, pid: int, status: int) -> None:
        if pid in self._jobs:
            self._report(self._jobs.pop(pid), status)
        elif pid in self._inits:
            self._inits.remove(pid)
        elif len(self._unclaimed) < _MAX_UNCLAIMED:
            self._unclaimed[pid] = status

    def _report(self, descriptor: int, status: int) -> None:
        try:
            os.write(descriptor, b"exit %d\n" % status)
        except OSError:
            # Nobody wants to know any more.
            pass
        os.close(descriptor)

    def _obey(self, control: socket.socket) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(control, 64, 2)
        except ConnectionResetError:
            # Closed there before our last word was read.
            message, descriptors = b"", []
        words = message.split()
        if not words:
            control.close()
            self._control = None
            self._reap()
            return
        try:
            if words[0] == b"init":
                if not self._made:
                    self._unclaimed.clear()
                number, first_uid = int(words[1]), int(words[2])
                status, init_control = descriptors
                self._make_init(first_uid, status, init_control)
                self._made[number] = status
                self._answer(control, b"born")
            elif words[0] == b"watch":
                self._watch(int(words[1]), int(words[2]))
        except Exception as error:
            # With this process would end every job of the template: sandboxd hears of it and makes another one instead.
            self._answer(control, f"failed {type(error).__name__}: {error}".encode()[:60])

    def _answer(self, control: socket.socket, word: bytes) -> None:
        try:
            control.send(word)
        except OSError:
            # sandboxd has given the template up meanwhile, which the next look at the socket tells.
            pass

    def _watch(self, number: int, pid: int) -> None:
        descriptor = self._made.pop(number)
        if pid in self._unclaimed:
            self._report(descriptor, self._unclaimed.pop(pid))
        else:
            self._jobs[pid] = descriptor

    def _make_init(self, first_uid: int, status: int, control: int) -> None:
        pid = kernel.fork_into(_NAMESPACES)
        if pid == 0:
            signal.set_wakeup_fd(-1)
            become_init(status, control, self._enclosure)
        self._inits.add(pid)
        os.close(control)
        for kind in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{kind}", "w") as file:
                file.write(f"0 {first_uid} 1\n1000 {first_uid + 1} 1\n")
