"""The keeper of one template: a process that keeps children ready, hands them out, and replaces a template that wears out."""

import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..log import log
from .conversation import TemplateFailed
from .delivery import Delivery
from .ready_child import ReadyChild
from .take import TAKE, TAKEN
from .template import MEMORY_BYTES, Template

# Beyond this share of its limit a template that has grown is replaced before the kernel ends it.
_WORN_SHARE: Final = 0.75
# In a row; then it is not the template's fault.
_MAX_FAILURES: Final = 3
_BACKLOG: Final = 64
# Children in the making: while one waits for its init, another may have the template fork.
_AT_ONCE: Final = 3
_LOOK_SECONDS: Final = 5.0
# A child that is taken after so long a pause runs a job that is alone: while another child is ready, its successor's making,
# some ten milliseconds of processor, waits until such a job is likely to be over.
_PAUSE_SECONDS: Final = 0.1
_ALONE_SECONDS: Final = 0.03
_END_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Plan:
    """What a keeper needs to know: how to start a template, how many children to keep, whose leaf to remove."""

    start_template: Callable[[int, int], Template]
    discard: Callable[[str], None]
    ready: int
    # How many templates may live at once: each, retired ones too, has uids of its own.
    ranges: int
    children_per_template: int
    address: str


class Keeper:
    """Serves until it is killed; TemplateFailed when a template cannot be started."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._generation = 0
        self._failures = 0
        self._retired: list[Template] = []
        self._template: Template | None = None
        # In the order in which they asked for what they wait for.
        self._making: list[Delivery] = []
        self._ready: deque[ReadyChild] = deque()
        self._waiting: deque[socket.socket] = deque()
        # Handed over, but not yet accepted: leaf by connection.
        self._offered: dict[socket.socket, str] = {}
        self._looked_at = 0.0
        self._handed_out_at = 0.0
        self._refill_at = 0.0
        self._is_open = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def _start(self) -> Template:
        taken = {template.place.range for template in (*self._retired, *([self._template] if self._template else []))}
        free = sorted(set(range(self._plan.ranges)) - taken)
        if not free:
            raise TemplateFailed(f"{len(taken)} templates wait for their last jobs")
        template = self._plan.start_template(self._generation, free[0])
        self._generation += 1
        try:
            template.wait_until_warm()
        except TemplateFailed as error:
            reason = f"{error}; {template.last_words()}"
            template.remove()
            raise TemplateFailed(reason) from error
        return template

    def run(self) -> None:
        """Keep children ready and hand them out; TemplateFailed when no template can be had, after the last job has ended."""
        try:
            self._run()
        except (TemplateFailed, OSError):
            self._end()
            raise

    def _run(self) -> None:
        self._template = self._start()
        while len(self._ready) < self._plan.ready:
            self._go_on()
        self._listener.bind(self._plan.address)
        self._listener.listen(_BACKLOG)
        self._is_open = True
        while True:
            self._go_on()

    def _go_on(self) -> None:
        until_refill = self._refill_at - time.monotonic()
        if self._ready and not self._waiting and until_refill > 0:
            self._serve(until_refill)
            return
        self._refill()
        self._serve(_LOOK_SECONDS)
        if self._retired or time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._look_after_templates()

    def _end(self) -> None:
        """Leave the jobs that run their time: they live in the containers that would go with this process."""
        self._listener.close()
        Path(self._plan.address).unlink(missing_ok=True)
        for connection in (*self._waiting, *self._offered):
            connection.close()
        self._retire()
        while self._retired:
            time.sleep(_END_SECONDS)
            self._remove_ended()

    def _refill(self) -> None:
        """Begin to make the children that are missing."""
        while len(self._making) < min(_AT_ONCE, self._plan.ready + len(self._waiting) - len(self._ready)):
            self._look_after_templates()
            try:
                self._making.append(self._current.begin_child())
            except TemplateFailed as error:
                self._give_up_template(error)

    def _advance(self, changed: set[int]) -> None:
        """Go on with the children that are being made; a word is for the one that has waited longest for its speaker."""
        for delivery in list(self._making):
            source = delivery.source.fileno()
            try:
                if source not in changed:
                    delivery.check_time()
                    continue
                is_ready = delivery.advance()
                self._making.remove(delivery)
                if not is_ready:
                    self._making.append(delivery)
                else:
                    self._ready.append(self._current.complete(delivery))
                    self._failures = 0
            except (OSError, TemplateFailed) as error:
                if delivery in self._making:
                    self._making.remove(delivery)
                self._give_up_template(TemplateFailed(self._current.abandon(delivery, error)))
                return
            changed.discard(source)

    def _give_up_template(self, error: TemplateFailed) -> None:
        log(f"a template is replaced: {error}")
        self._failures += 1
        if self._failures >= _MAX_FAILURES:
            raise error
        self._replace()

    def _serve(self, seconds: float) -> None:
        poller = select.poll()
        listening = (self._listener,) if self._is_open else ()
        for source in (*listening, *self._waiting, *self._offered, *(delivery.source for delivery in self._making)):
            poller.register(source, select.POLLIN)
        for ended in self._current.watched:
            poller.register(ended, select.POLLIN)
        for child in self._ready:
            for descriptor in child.signs_of_death:
                poller.register(descriptor, select.POLLIN)
        changed = {fd for fd, _ in poller.poll(seconds * 1000)}
        if changed.intersection(self._current.watched):
            log("a template has died")
            self._replace()
        else:
            self._advance(changed)
        if self._listener.fileno() in changed:
            self._accept()
        for connection in [found for found in self._offered if found.fileno() in changed]:
            self._conclude(connection)
        for connection in [found for found in self._waiting if found.fileno() in changed]:
            # Nobody speaks while waiting: it has gone away.
            self._waiting.remove(connection)
            connection.close()
        for child in [found for found in self._ready if not changed.isdisjoint(found.signs_of_death)]:
            self._ready.remove(child)
            self._drop(child)
        self._hand_out()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        # The handler sends its word right after connecting.
        connection.settimeout(1.0)
        try:
            asked = connection.recv(16)
        except OSError:
            asked = b""
        if asked == TAKE:
            self._waiting.append(connection)
        else:
            connection.close()

    def _hand_out(self) -> None:
        while self._waiting and self._ready:
            child, connection = self._ready.popleft(), self._waiting.popleft()
            if not child.is_waiting:
                self._drop(child)
                self._waiting.appendleft(connection)
                continue
            try:
                child.send(connection)
            except OSError:
                self._ready.appendleft(child)
                connection.close()
                continue
            self._offered[connection] = child.leaf
            child.close()
            now = time.monotonic()
            self._refill_at = refill_time(now, self._handed_out_at)
            self._handed_out_at = now

    def _conclude(self, connection: socket.socket) -> None:
        leaf = self._offered.pop(connection)
        try:
            accepted = connection.recv(16) == TAKEN
        except OSError:
            accepted = False
        connection.close()
        if not accepted:
            self._plan.discard(leaf)

    def _drop(self, child: ReadyChild) -> None:
        child.close()
        self._plan.discard(child.leaf)

    @property
    def _current(self) -> Template:
        if self._template is None:
            raise TemplateFailed("there is no template")
        return self._template

    def _look_after_templates(self) -> None:
        self._looked_at = time.monotonic()
        self._remove_ended()
        self._current.reap()
        if self._current.children >= self._plan.children_per_template or self._current.memory_bytes() > _WORN_SHARE * MEMORY_BYTES:
            self._replace()

    def _remove_ended(self) -> None:
        for template in [found for found in self._retired if found.is_over]:
            self._retired.remove(template)
            template.remove()

    def _replace(self) -> None:
        """Start a successor; the jobs that run as children of the old one go on."""
        self._retire()
        self._template = self._start()

    def _retire(self) -> None:
        stale = list(self._ready)
        self._ready.clear()
        for child in stale:
            self._drop(child)
        unfinished = list(self._making)
        self._making.clear()
        for delivery in unfinished:
            delivery.abandon()
            self._plan.discard(delivery.name)
        if self._template is not None:
            self._template.retire()
            self._retired.append(self._template)
            self._template = None


def refill_time(now: float, handed_out_at: float) -> float:
    """When to begin the successor of a child that is handed out now, while another one is ready; the one before was at `handed_out_at`."""
    return now + _ALONE_SECONDS if now - handed_out_at >= _PAUSE_SECONDS else now


def run_keeper(plan_for: Callable[[], Plan], failed: Callable[[str], None]) -> int:
    """Run a keeper in this process; returns the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        Keeper(plan_for()).run()
    except (TemplateFailed, OSError) as error:
        failed(str(error)[:2000])
        return 1
    return 0
