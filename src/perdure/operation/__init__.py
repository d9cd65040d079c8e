"""The vocabulary between features and engines: statements, plans, operations, flows.

A feature decides, an engine does the I/O. A method of a feature checks its arguments, draws
ids and the time, and returns *work*: a function that makes a **plan**, a generator that
yields statements and is sent their rows. A plan has no clock, no randomness and no I/O of
its own, so an engine may run it again: for the replay of a failed batch, for a retry.

The same text serves three modes. ``@operation`` is a descriptor over a phantom type: on
``Events[Async]`` a method is ``(...) -> Coroutine[..., T]``, on ``Events[Sync]`` it is
``(...) -> T``, on ``Events[Deferred]``, inside a turn, ``(...) -> Pending[T]``.
"""

from perdure.operation.cache import Cache
from perdure.operation.flows import (
    Call,
    Emit,
    Flow,
    Keeping,
    Pending,
    Runner,
    Settings,
    Settle,
    Sleep,
    Step,
    Stream,
    Tend,
    Tended,
    run,
)
from perdure.operation.methods import (
    Async,
    Deferred,
    Feature,
    M,
    P,
    S,
    Sync,
    Taking,
    flow,
    operation,
    reading,
    renewing,
    stream,
    taking,
)
from perdure.operation.statements import (
    Bumps,
    Composed,
    Do,
    Fused,
    Many,
    Noted,
    Operation,
    Plan,
    Query,
    Row,
    Rows,
    Statement,
    T,
    Work,
    in_one,
)

__all__ = [
    "Async",
    "Bumps",
    "Cache",
    "Call",
    "Composed",
    "Deferred",
    "Do",
    "Emit",
    "Feature",
    "Flow",
    "Fused",
    "Keeping",
    "M",
    "Many",
    "Noted",
    "Operation",
    "P",
    "Pending",
    "Plan",
    "Query",
    "Row",
    "Rows",
    "Runner",
    "S",
    "Settings",
    "Settle",
    "Sleep",
    "Statement",
    "Step",
    "Stream",
    "Sync",
    "T",
    "Taking",
    "Tend",
    "Tended",
    "Work",
    "flow",
    "in_one",
    "operation",
    "reading",
    "renewing",
    "run",
    "stream",
    "taking",
]
