"""A handler's side: take a ready child, or have a template started."""

import select
import socket
import time
from pathlib import Path
from typing import Final

from ..errors import SandboxError
from .key import TemplateKey
from .ready_child import ReadyChild

_WARM_UP_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.01
_LOOKS_PER_WISH: Final = 50
# Which templates make room for others is decided by when they were wanted, in seconds and not in jobs.
_WISH_SECONDS: Final = 1.0
TAKE: Final = b"take"
TAKEN: Final = b"taken"


class Offer:
    """A child that the keeper still answers for, until `accept`."""

    def __init__(self, child: ReadyChild, keeper: socket.socket) -> None:
        self.child = child
        self._keeper = keeper

    def accept(self) -> bool:
        """From here on its leaf is the caller's to remove; False when the keeper is gone, and the child with it."""
        with self._keeper:
            try:
                self._keeper.send(TAKEN)
            except OSError:
                self.child.close()
                return False
        return True


class Templates:
    """Where the keepers listen, and how to ask the accept loop for one."""

    def __init__(self, folder: Path, wanted: socket.socket, child_seconds: float) -> None:
        self.folder = folder
        self._wanted = wanted
        # A child is made in some ten milliseconds; beyond this a container of one's own is sooner ready.
        self._child_seconds = child_seconds
        self._wished_at: dict[TemplateKey, float] = {}

    def address(self, key: TemplateKey) -> Path:
        """The socket of the key's keeper; it exists while the template is warm."""
        return self.folder / key.name

    def failure(self, key: TemplateKey) -> Path:
        """Why the last template of the key failed."""
        return self.folder / f"{key.name}.failed"

    def want(self, key: TemplateKey) -> None:
        """Tell that the key is in use: its template is started, or kept."""
        try:
            self._wanted.send(key.encode(), socket.MSG_DONTWAIT)
        except OSError:
            # The accept loop has more of these than it can read: it will know.
            return

    def take(self, key: TemplateKey) -> Offer | None:
        """Return a ready child; None when the template, which is then wanted, is not warm or has none soon."""
        offer = self._take(key)
        now = time.monotonic()
        if offer is None or now - self._wished_at.get(key, -_WISH_SECONDS) >= _WISH_SECONDS:
            self.want(key)
            self._wished_at[key] = now
        return offer

    def _take(self, key: TemplateKey) -> Offer | None:
        keeper = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        # A keeper that is busy with a successor does not accept: its backlog must not hold us up.
        keeper.setblocking(False)
        try:
            keeper.connect(str(self.address(key)))
            keeper.send(TAKE)
            poller = select.poll()
            poller.register(keeper, select.POLLIN)
            child = ReadyChild.receive(keeper) if poller.poll(self._child_seconds * 1000) else None
        except OSError:
            child = None
        if child is None:
            keeper.close()
            return None
        return Offer(child, keeper)

    def warm_up(self, key: TemplateKey) -> None:
        """Wait until the template is warm; SandboxError TEMPLATE_FAILED with its last words."""
        deadline = time.monotonic() + _WARM_UP_SECONDS
        while time.monotonic() < deadline:
            # Again and again: the accept loop may first have to make room.
            self.want(key)
            for _ in range(_LOOKS_PER_WISH):
                if self.address(key).exists():
                    return
                time.sleep(_LOOK_SECONDS)
            if self.failure(key).exists():
                raise SandboxError("TEMPLATE_FAILED", self.failure(key).read_text())
        raise SandboxError("TEMPLATE_FAILED", f"not warm within {_WARM_UP_SECONDS:.0f} s; other environments may be in use")
