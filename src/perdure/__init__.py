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
        ApprovalPendingError,
        ApprovalUsedError,
        BusyError,
        ClosedError,
        ConflictError,
        CorruptError,
        DeniedError,
        EmbedderError,
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
    from perdure.features.gating import Gate
    from perdure.features.history import HistoryView
    from perdure.features.memory_tools import MemoryTools
    from perdure.features.recovery import RecoveryView
    from perdure.features.runs import RunLease
    from perdure.handles import HandleState, SessionHandle
    from perdure.opening import open, open_sync
    from perdure.operation import Async, Deferred, Pending, Sync
    from perdure.policy import ApprovalPolicy
    from perdure.records import (
        ALL,
        DELETE,
        Annotation,
        Appended,
        Approval,
        ApprovalStep,
        AppScope,
        Artifact,
        Branch,
        Checkpoint,
        CheckpointKey,
        CheckpointNode,
        CheckpointTuple,
        CheckpointWrite,
        Clarification,
        Compacted,
        Content,
        Context,
        ConversationContext,
        CronPass,
        CronRun,
        CronSync,
        CronTask,
        DiskUse,
        ErasureReceipt,
        Event,
        EventError,
        Fact,
        Growth,
        History,
        Hold,
        KeyValue,
        KeyValueHit,
        LeaseHolder,
        Lineage,
        LoadedArtifact,
        Memory,
        MemoryHit,
        Message,
        Messages,
        Namespace,
        NewAnnotation,
        NewAnswer,
        NewApproval,
        NewArtifact,
        NewCheckpoint,
        NewClarification,
        NewCronTask,
        NewEvent,
        NewKeyValue,
        NewMemory,
        NewResolution,
        NewRunStep,
        NewSession,
        NewState,
        NewTaskWrites,
        NewWrite,
        Opaque,
        Origin,
        Page,
        Principal,
        PrunedCheckpoints,
        RecoveredApprovals,
        RecoveredClarifications,
        Remembered,
        RememberedApproval,
        Rewritten,
        RunStep,
        SearchHit,
        Session,
        SessionKey,
        SessionSummary,
        Size,
        StateChange,
        StateEntry,
        Summary,
        SummaryJob,
        SummaryRun,
        SummaryTrigger,
        Swept,
        Tally,
        Usage,
        UserScope,
    )
    from perdure.retention import KeepCheckpoints, RetentionConfig
    from perdure.retrying import RetryPolicy
    from perdure.store import Store, SyncStore
    from perdure.subscriptions import AsyncSubscription, SyncSubscription
    from perdure.turns import Turn
    from perdure.values import Limits
    from perdure.webhooks import Webhook
    from perdure.workers.handling import CronContext

__version__ = "0.1.0"


__all__ = [
    "ALL",
    "DELETE",
    "AlreadyExistsError",
    "Annotation",
    "AppScope",
    "Appended",
    "Approval",
    "ApprovalPendingError",
    "ApprovalPolicy",
    "ApprovalStep",
    "ApprovalUsedError",
    "Artifact",
    "Async",
    "AsyncSubscription",
    "Branch",
    "BusyError",
    "Checkpoint",
    "CheckpointKey",
    "CheckpointNode",
    "CheckpointTuple",
    "CheckpointWrite",
    "Clarification",
    "ClosedError",
    "Compacted",
    "Config",
    "ConflictError",
    "Content",
    "Context",
    "ConversationContext",
    "CorruptError",
    "CronContext",
    "CronPass",
    "CronRun",
    "CronSync",
    "CronTask",
    "Deferred",
    "DeniedError",
    "DiskUse",
    "EmbeddedPostgres",
    "EmbedderError",
    "ErasureReceipt",
    "Event",
    "EventError",
    "Fact",
    "Gate",
    "Growth",
    "HandleState",
    "History",
    "HistoryView",
    "Hold",
    "InvalidError",
    "KeepCheckpoints",
    "KeyValue",
    "KeyValueHit",
    "LeaseHolder",
    "Limits",
    "Lineage",
    "LoadedArtifact",
    "Memory",
    "MemoryHit",
    "MemoryTools",
    "Message",
    "Messages",
    "MissingExtraError",
    "Namespace",
    "NewAnnotation",
    "NewAnswer",
    "NewApproval",
    "NewArtifact",
    "NewCheckpoint",
    "NewClarification",
    "NewCronTask",
    "NewEvent",
    "NewKeyValue",
    "NewMemory",
    "NewResolution",
    "NewRunStep",
    "NewSession",
    "NewState",
    "NewTaskWrites",
    "NewWrite",
    "NotFoundError",
    "Opaque",
    "Origin",
    "Page",
    "Pending",
    "PerdureError",
    "Principal",
    "PrunedCheckpoints",
    "ReadOnlyError",
    "RecoveredApprovals",
    "RecoveredClarifications",
    "RecoveryView",
    "Remembered",
    "RememberedApproval",
    "RetentionConfig",
    "RetryPolicy",
    "Rewritten",
    "RunLease",
    "RunStep",
    "SchemaTooNewError",
    "SearchHit",
    "Session",
    "SessionHandle",
    "SessionKey",
    "SessionSummary",
    "Size",
    "StaleSessionError",
    "StateChange",
    "StateEntry",
    "StateKeyError",
    "StorageFullError",
    "Store",
    "Summary",
    "SummaryJob",
    "SummaryRun",
    "SummaryTrigger",
    "Swept",
    "Sync",
    "SyncStore",
    "SyncSubscription",
    "Tally",
    "TooLargeError",
    "Turn",
    "UnknownOutcomeError",
    "UnsupportedError",
    "Usage",
    "UserScope",
    "Webhook",
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
            "AlreadyExistsError ApprovalPendingError ApprovalUsedError BusyError ClosedError "
            "ConflictError CorruptError DeniedError "
            "EmbedderError InvalidError MissingExtraError NotFoundError PerdureError ReadOnlyError "
            "SchemaTooNewError StaleSessionError StateKeyError StorageFullError TooLargeError "
            "UnknownOutcomeError UnsupportedError"
        ),
        "perdure.features.gating": "Gate",
        "perdure.features.history": "HistoryView",
        "perdure.features.memory_tools": "MemoryTools",
        "perdure.features.recovery": "RecoveryView",
        "perdure.features.runs": "RunLease",
        "perdure.handles": "HandleState SessionHandle",
        "perdure.operation": "Async Deferred Pending Sync",
        "perdure.records": (
            "ALL Annotation AppScope Appended Artifact Branch Checkpoint CheckpointKey "
            "CheckpointNode CheckpointTuple CheckpointWrite Compacted Content Context "
            "ConversationContext DELETE DiskUse ErasureReceipt Event EventError Fact Growth "
            "History Hold KeyValue KeyValueHit "
            "Lineage LoadedArtifact Memory MemoryHit Message Messages Namespace NewAnnotation "
            "NewArtifact NewCheckpoint NewEvent NewKeyValue NewMemory "
            "NewSession NewState NewTaskWrites NewWrite Opaque Origin "
            "Page PrunedCheckpoints "
            "Remembered "
            "Rewritten SearchHit Session SessionKey SessionSummary Size StateChange "
            "StateEntry Summary SummaryJob SummaryRun SummaryTrigger Swept Tally Usage "
            "Approval ApprovalStep Checkpoint CheckpointKey CheckpointNode CheckpointTuple "
            "CheckpointWrite Clarification CronPass CronRun CronSync CronTask LeaseHolder "
            "Lineage NewAnswer NewApproval NewClarification NewCronTask NewResolution "
            "NewRunStep Principal PrunedCheckpoints RecoveredApprovals "
            "RecoveredClarifications RememberedApproval RunStep UserScope"
        ),
        "perdure.policy": "ApprovalPolicy",
        "perdure.retention": "KeepCheckpoints RetentionConfig",
        "perdure.retrying": "RetryPolicy",
        "perdure.opening": "open open_sync",
        "perdure.store": "Store SyncStore",
        "perdure.subscriptions": "AsyncSubscription SyncSubscription",
        "perdure.turns": "Turn",
        "perdure.values": "Limits",
        "perdure.webhooks": "Webhook",
        "perdure.workers.handling": "CronContext",
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
