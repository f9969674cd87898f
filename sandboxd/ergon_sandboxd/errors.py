"""The closed list of refusals a client can receive."""

from typing import Final, Literal

ErrorCode = Literal[
    "PROTOCOL",
    "ENVIRONMENT_NOT_FOUND",
    "RUNTIME_NOT_FOUND",
    "LIMIT_OUT_OF_RANGE",
    "BUSY",
    "INPUT_TOO_LARGE",
    "DISK_FULL",
    "RUNTIME_FAILED",
    "TEMPLATE_FAILED",
    "TEMPLATE_LOST",
    "UPLINK_NOT_ALLOWED",
    "INTERNAL",
]

MAX_MESSAGE_CHARACTERS: Final = 2000


class SandboxError(Exception):
    """A refusal or failure that the client is told: a code of the protocol and a sentence for people."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message[:MAX_MESSAGE_CHARACTERS]


class Disconnected(Exception):
    """The client is gone or has stopped reading: nothing more can be said to it."""
