"""Every error of perdure: one base, one class for each reason to act differently.

PerdureError
├── NotFoundError            nothing is stored under that key
│   └── StateKeyError        the state has no such key
├── AlreadyExistsError       the id is in use
├── ConflictError            what is stored contradicts what was asked
│   ├── StaleSessionError    somebody else changed the session since it was read
│   └── ApprovalUsedError    somebody else goes on with what was approved
├── InvalidError             the value cannot be stored as it is
│   └── TooLargeError        a limit was passed
├── DeniedError              not allowed
├── ApprovalPendingError     nobody has said yes or no yet
├── BusyError                the store is locked by others; try again
├── UnknownOutcomeError      the server was lost at commit; look before you do it again
├── StorageFullError         no space left
├── ReadOnlyError            the store cannot be written
├── CorruptError             what is stored is damaged
├── SchemaTooNewError        a newer perdure wrote this store
├── UnsupportedError         this engine cannot do that
├── EmbedderError            the store's embedder failed
├── ClosedError              the store is closed
└── MissingExtraError        an optional package is not installed

Errors of drivers never reach the caller; they are the ``__cause__`` of one of these.
"""

from __future__ import annotations

from typing import Any


class PerdureError(Exception):
    """The base of all errors of perdure.

    ``code`` is a stable word for machines, ``http_status`` and ``exit_code`` what the HTTP
    API and the command line answer. ``operation`` is ``(index, name)`` of the operation that
    failed when the error comes out of a turn, else None.
    """

    code = "error"
    http_status = 500
    exit_code = 1
    operation: tuple[int, str] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by a call of the class, as exceptions do: it may want more than `args` holds.
        return _again, (type(self), self.args), *super().__reduce__()[2:]


def _again(kind: type[PerdureError], args: tuple[Any, ...]) -> PerdureError:
    """The same error, out of a pickle or as a copy, before it gets its attributes."""
    error = kind.__new__(kind, *args)
    # An OSError with a constructor of its own has taken none yet.
    error.args = args
    return error


class NotFoundError(PerdureError, LookupError):
    """Nothing is stored under that key."""

    code = "not_found"
    http_status = 404
    exit_code = 3


class StateKeyError(NotFoundError, KeyError):
    """The state has no such key."""

    code = "state_key_not_found"

    def __str__(self) -> str:
        # KeyError shows the repr of its argument; ours is a sentence.
        return str(self.args[0]) if self.args else ""


class AlreadyExistsError(PerdureError):
    """The id is in use."""

    code = "already_exists"
    http_status = 409
    exit_code = 4


class ConflictError(PerdureError):
    """What is stored contradicts what was asked."""

    code = "conflict"
    http_status = 409
    exit_code = 4


class StaleSessionError(ConflictError):
    """Somebody else changed the session since it was read; nothing was written.

    ``current_version`` is the version that is stored now.
    """

    code = "stale"
    http_status = 412

    def __init__(self, message: str, current_version: int) -> None:
        super().__init__(message)
        self.current_version = current_version


class ApprovalUsedError(ConflictError):
    """Somebody else has used the approval, and goes on with what it let run.

    ``approval_id`` is that approval. Nothing of the call that raises it was used up.
    """

    code = "approval_used"

    def __init__(self, message: str, approval_id: str) -> None:
        super().__init__(message)
        self.approval_id = approval_id


class InvalidError(PerdureError, ValueError):
    """The value cannot be stored as it is; ``path`` says where in it the fault lies."""

    code = "invalid"
    http_status = 422
    exit_code = 5

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class TooLargeError(InvalidError):
    """A limit was passed; ``limit`` names it."""

    code = "too_large"
    http_status = 413

    def __init__(self, message: str, limit: str, path: str = "") -> None:
        super().__init__(message, path)
        self.limit = limit


class DeniedError(PerdureError, PermissionError):
    """The store's rules do not allow that; ``feedback`` is what the person said who refused it."""

    code = "denied"
    http_status = 403
    exit_code = 6
    feedback = ""


class ApprovalPendingError(PerdureError):
    """Nobody has said yes or no yet, so the tool did not run; ``approval_id`` is what waits.

    Ask again with the same ``tool_call_id``, or wait for the approval.
    """

    code = "approval_pending"
    http_status = 409
    exit_code = 9

    def __init__(self, message: str, approval_id: str) -> None:
        super().__init__(message)
        self.approval_id = approval_id


class BusyError(PerdureError, TimeoutError):
    """The store was locked by others for too long; nothing was written, try again.

    ``retry_after`` is a number of seconds.
    """

    code = "busy"
    http_status = 503
    exit_code = 7

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnknownOutcomeError(PerdureError):
    """The connection was lost at commit, and the server cannot say what became of it.

    Either all of the call is stored or nothing: read, before you do it again.
    """

    code = "unknown_outcome"
    http_status = 504
    exit_code = 7


class StorageFullError(PerdureError, OSError):
    """There is no space left; nothing of the call was stored."""

    code = "storage_full"
    http_status = 507
    exit_code = 7


class ReadOnlyError(PerdureError):
    """The store cannot be written: its file, folder or server is read-only."""

    code = "read_only"
    http_status = 403
    exit_code = 7


class CorruptError(PerdureError):
    """What is stored is damaged; the message names the row or file."""

    code = "corrupt"


class SchemaTooNewError(PerdureError):
    """A newer perdure wrote this store; this one must not touch it."""

    code = "schema_too_new"
    http_status = 503
    exit_code = 7


class UnsupportedError(PerdureError):
    """This engine or platform cannot do that."""

    code = "unsupported"
    http_status = 501


class EmbedderError(PerdureError):
    """The store's embedder failed, or what it gave are no vectors; its own error is the cause."""

    code = "embedder"
    http_status = 502
    exit_code = 7


class ClosedError(PerdureError):
    """The store is closed."""

    code = "closed"
    http_status = 503


class MissingExtraError(PerdureError, ImportError):
    """An optional package is not installed; the message says how to get it."""

    code = "missing_extra"
