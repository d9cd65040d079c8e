"""perdure: the durable store for AI agents.

Sessions and their events, scoped state, branches and turns, on an embedded SQLite file or in
memory, with one API for async and sync code::

    async with perdure.open("sqlite:///agent.db") as store:
        chat = await store.session("support", "ada")
        await chat.append({"role": "user", "content": "Where is my parcel?"})
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure.config import Config
    from perdure.embedded_postgres import EmbeddedPostgres
    from perdure.engines import register_engine
    from perdure.errors import (
        AlreadyExistsError,
        BusyError,
        ClosedError,
        ConflictError,
        CorruptError,
        DeniedError,
        InvalidError,
        MissingExtraError,
        NotFoundError,
        PerdureError,
        ReadOnlyError,
        SchemaTooNewError,
        StaleSessionError,
        StateKeyError,
        StorageFullError,
        TooLargeError,
        UnknownOutcomeError,
        UnsupportedError,
    )
    from perdure.handles import HandleState, SessionHandle
    from perdure.operation import Async, Deferred, Pending, Sync
    from perdure.records import (
        ALL,
        DELETE,
        Annotation,
        Appended,
        AppScope,
        Artifact,
        Branch,
        DiskUse,
        ErasureReceipt,
        Event,
        EventError,
        Fact,
        Growth,
        LoadedArtifact,
        Messages,
        NewAnnotation,
        NewArtifact,
        NewEvent,
        NewSession,
        NewState,
        Opaque,
        Origin,
        Page,
        Rewritten,
        Session,
        SessionKey,
        Size,
        StateChange,
        StateEntry,
        Swept,
        Usage,
        UserScope,
    )
    from perdure.store import Store, SyncStore, open, open_sync
    from perdure.subscriptions import AsyncSubscription, SyncSubscription
    from perdure.turns import Turn
    from perdure.values import Limits

__version__ = "0.1.0"


__all__ = [
    "ALL",
    "DELETE",
    "AlreadyExistsError",
    "Annotation",
    "AppScope",
    "Appended",
    "Artifact",
    "Async",
    "AsyncSubscription",
    "Branch",
    "BusyError",
    "ClosedError",
    "Config",
    "ConflictError",
    "CorruptError",
    "Deferred",
    "DeniedError",
    "DiskUse",
    "EmbeddedPostgres",
    "ErasureReceipt",
    "Event",
    "EventError",
    "Fact",
    "Growth",
    "HandleState",
    "InvalidError",
    "Limits",
    "LoadedArtifact",
    "Messages",
    "MissingExtraError",
    "NewAnnotation",
    "NewArtifact",
    "NewEvent",
    "NewSession",
    "NewState",
    "NotFoundError",
    "Opaque",
    "Origin",
    "Page",
    "Pending",
    "PerdureError",
    "ReadOnlyError",
    "Rewritten",
    "SchemaTooNewError",
    "Session",
    "SessionHandle",
    "SessionKey",
    "Size",
    "StaleSessionError",
    "StateChange",
    "StateEntry",
    "StateKeyError",
    "StorageFullError",
    "Store",
    "Swept",
    "Sync",
    "SyncStore",
    "SyncSubscription",
    "TooLargeError",
    "Turn",
    "UnknownOutcomeError",
    "UnsupportedError",
    "Usage",
    "UserScope",
    "__version__",
    "open",
    "open_sync",
    "register_engine",
]

# Imported when first used: `perdure --version` and a module that only names a type need none.
_PLACES = {
    name: module
    for module, names in {
        "perdure.config": "Config",
        "perdure.embedded_postgres": "EmbeddedPostgres",
        "perdure.engines": "register_engine",
        "perdure.errors": (
            "AlreadyExistsError BusyError ClosedError ConflictError CorruptError DeniedError "
            "InvalidError MissingExtraError NotFoundError PerdureError ReadOnlyError "
            "SchemaTooNewError StaleSessionError StateKeyError StorageFullError TooLargeError "
            "UnknownOutcomeError UnsupportedError"
        ),
        "perdure.handles": "HandleState SessionHandle",
        "perdure.operation": "Async Deferred Pending Sync",
        "perdure.records": (
            "ALL DELETE Annotation Appended AppScope Artifact Branch DiskUse ErasureReceipt "
            "Event EventError Fact Growth LoadedArtifact Messages NewAnnotation NewArtifact "
            "NewEvent NewSession NewState Opaque Origin Page Rewritten Session SessionKey "
            "Size StateChange StateEntry Swept Usage UserScope"
        ),
        "perdure.store": "Store SyncStore open open_sync",
        "perdure.subscriptions": "AsyncSubscription SyncSubscription",
        "perdure.turns": "Turn",
        "perdure.values": "Limits",
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415 - only when something is missing

    try:
        module = import_module(_PLACES[name])
    except KeyError:
        raise AttributeError(f"module 'perdure' has no attribute {name!r}") from None
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
