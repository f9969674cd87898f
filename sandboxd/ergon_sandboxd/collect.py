"""Reading a dead sandbox's results by descriptor: one component at a time, regular files with one link only."""

import errno
import os
import stat
import unicodedata
from collections.abc import Callable
from typing import Final, NamedTuple

from .framing import MAX_PAYLOAD_BYTES, Message
from .limits import Limits

Send = Callable[[Message, bytes], None]

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_NAME_BYTES: Final = 200
_MAX_VIOLATIONS: Final = 100
_RESULT: Final = "result.json"
_OUTPUT: Final = "output"


class Violation(Exception):
    """Something that must not be read: a code of the protocol."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _File(NamedTuple):
    fd: int
    size: int


def is_good_name(name: str) -> bool:
    """True for a name that is safe to show and to store: UTF-8, visible, no leading dot or dash, at most 200 bytes."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return False
    if len(encoded) > _MAX_NAME_BYTES or name[:1] in (".", "-", "") or "\\" in name or "/" in name:
        return False
    # Cc control, Cf format (bidirectional overrides, zero width), Zl and Zp line breaks, Cs, Co and Cn no characters.
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn") for c in name)


def printable(name: str) -> str:
    """Return a bounded ASCII rendering of a name that may be anything."""
    raw = os.fsencode(name)[:_MAX_NAME_BYTES]
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in raw)


def open_regular(name: str, folder: int, device: int) -> _File:
    """Open one regular file of a folder; Violation for a link, a second name, another kind or another device."""
    try:
        fd = os.open(name, _FLAGS, dir_fd=folder)
    except OSError as error:
        codes = {errno.ELOOP: "SYMLINK", errno.ENXIO: "NOT_REGULAR"}
        raise Violation(codes.get(error.errno or 0, "UNREADABLE")) from error
    found = os.fstat(fd)
    try:
        if not stat.S_ISREG(found.st_mode):
            raise Violation("NOT_REGULAR")
        if found.st_dev != device:
            raise Violation("OTHER_DEVICE")
        if found.st_nlink != 1:
            raise Violation("HARD_LINK")
    except Violation:
        os.close(fd)
        raise
    return _File(fd, found.st_size)


class Collection:
    """Sends result.json and the artifacts of one workspace, and says what it refused."""

    def __init__(self, root: int, limits: Limits, send: Send) -> None:
        self._root = root
        self._device = os.fstat(root).st_dev
        self._limits = limits
        self._send = send
        self._violations = 0

    def run(self) -> None:
        """Send everything in the protocol's order, until a limit or too many violations end it."""
        if self._send_result():
            self._send_artifacts()

    def _violation(self, path: str, code: str) -> None:
        self._violations += 1
        self._send({"type": "violation", "path": path, "code": code}, b"")

    def _limit(self, counter: str, limit: int, observed: int) -> None:
        self._send({"type": "limit", "counter": counter, "limit": limit, "observed": observed}, b"")

    def _send_result(self) -> bool:
        if not self._exists(_RESULT):
            return True
        try:
            file = open_regular(_RESULT, self._root, self._device)
        except Violation as violation:
            self._violation(_RESULT, violation.code)
            return True
        try:
            if file.size > self._limits.result_bytes:
                self._limit("result_bytes", self._limits.result_bytes, file.size)
                return False
            self._send({"type": "result", "size": file.size}, b"")
            self._send_data(file)
        finally:
            os.close(file.fd)
        return True

    def _exists(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _open_output(self) -> int | None:
        try:
            fd = os.open(_OUTPUT, _FLAGS | os.O_DIRECTORY, dir_fd=self._root)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._violation(_OUTPUT, "NOT_A_DIRECTORY" if error.errno in (errno.ENOTDIR, errno.ELOOP) else "UNREADABLE")
            return None
        if os.fstat(fd).st_dev != self._device:
            os.close(fd)
            self._violation(_OUTPUT, "OTHER_DEVICE")
            return None
        return fd

    def _send_artifacts(self) -> None:
        folder = self._open_output()
        if folder is None:
            return
        try:
            names = self._artifact_names(folder)
            total = 0
            for position, name in enumerate(names):
                if position >= self._limits.artifact_count:
                    self._limit("artifact_count", self._limits.artifact_count, len(names))
                    return
                total = self._send_artifact(folder, name, total)
                if total < 0 or self._violations >= _MAX_VIOLATIONS:
                    return
        finally:
            os.close(folder)

    def _artifact_names(self, folder: int) -> list[str]:
        names = []
        for name in sorted(os.listdir(folder), key=os.fsencode):
            # Folders are no artifacts and no offence: collection is not recursive.
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                continue
            if is_good_name(name):
                names.append(name)
            elif self._violations < _MAX_VIOLATIONS:
                self._violation(f"{_OUTPUT}/{printable(name)}", "BAD_NAME")
        return names

    def _send_artifact(self, folder: int, name: str, total: int) -> int:
        """Return the new sum of bytes, or -1 when the limit ended the collection."""
        try:
            file = open_regular(name, folder, self._device)
        except Violation as violation:
            self._violation(f"{_OUTPUT}/{name}", violation.code)
            return total
        try:
            if total + file.size > self._limits.artifact_bytes:
                self._limit("artifact_bytes", self._limits.artifact_bytes, total + file.size)
                return -1
            self._send({"type": "artifact", "name": name, "size": file.size}, b"")
            self._send_data(file)
        finally:
            os.close(file.fd)
        return total + file.size

    def _send_data(self, file: _File) -> None:
        offset = 0
        while offset < file.size:
            data = os.pread(file.fd, min(MAX_PAYLOAD_BYTES, file.size - offset), offset)
            if not data:
                raise OSError("a file of an ended sandbox became shorter")
            self._send({"type": "data"}, data)
            offset += len(data)
