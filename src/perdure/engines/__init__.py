"""WHERE it is kept: an engine runs the plans of features and knows none of them.

An engine is made by a factory that is found by the scheme of the store's URL: one of ours, one
given to `register_engine`, or an entry point of the group ``perdure.engines``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Protocol

from perdure.engines.delivery import Waiter
from perdure.errors import InvalidError, MissingExtraError
from perdure.operation import Operation

__all__ = [
    "Engine",
    "EngineOptions",
    "Factory",
    "at_url",
    "bytes_of",
    "engine_for",
    "register_engine",
]

Job = tuple[Operation[Any], Waiter]


class Engine(Protocol):
    """The port. Thread-safe: any thread, any event loop, all at once.

    An engine may have a method ``settle(thorough: bool | None) -> list[str]`` too: make what was
    removed unreadable, and say what remains; None: if that is quick. It may block.

    It may have these too, all of which block. ``size() -> int | None``: the bytes on the disk.
    ``examine(asking: Operation[list[str]], quick: bool) -> Examination``: what is wrong with what
    is stored, without opening or changing it; the operation reads, and gives sentences of its own.
    ``salvage(folder: str) -> list[Salvaged]``: what can be read of a damaged store, in a new one.
    """

    #: Which text of a query this engine takes: ``sqlite`` or ``postgres``.
    dialect: str

    def open(self) -> None:
        """Open and set up now; without it, the first operation does. Blocks."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take these operations; each waiter is told the outcome. Does not block.

        Raises `ClosedError` if the engine is closed; what was accepted before is still run.
        """

    def run(self, op: Operation[Any]) -> Any:
        """Run one operation and return its result; the calling thread may do the work."""

    def close(self) -> None:
        """Finish what was accepted and let go of everything. Blocks; idempotent."""


class EngineOptions(Protocol):
    """What a factory is told; `perdure.Config` is one."""

    @property
    def url(self) -> str:
        """The store's URL, with the scheme the engine was found by."""

    @property
    def durability(self) -> str:
        """``full`` or ``normal``."""

    @property
    def busy_timeout(self) -> float:
        """Seconds to wait for a store that others have locked, or that cannot be reached."""

    @property
    def schema(self) -> str:
        """Of a server: the schema that holds the tables."""

    @property
    def pool_min(self) -> int:
        """Of a server: how many connections are kept open."""

    @property
    def pool_max(self) -> int:
        """Of a server: how many connections there may be."""

    @property
    def prepared_statements(self) -> bool:
        """Of a server: whether a connection remembers what was prepared on it."""

    @property
    def unhurried(self) -> bool:
        """Of a server: whether a statement may take as long as it wants, as a migration may."""

    @property
    def pool(self) -> Any:
        """Of a server: a pool of the application's, or None."""


def at_url(options: EngineOptions, url: str) -> EngineOptions:
    """The same options with another URL: for an engine around another one."""
    changed = copy(options)
    # They are frozen, as a caller sees them; this copy nobody has seen yet.
    object.__setattr__(changed, "url", url)
    return changed


#: ``setup`` reads whether the schema is as it should be, and gives the operation that makes
#: it so, or None; it is run once, before anything else.
Setup = Operation[Operation[Any] | None]
Factory = Callable[[EngineOptions, Setup], Engine]

_factories: dict[str, Factory] = {}


def register_engine(scheme: str, factory: Factory) -> None:
    """Make URLs of this scheme open with this factory, in this process."""
    _factories[scheme] = factory


def engine_for(options: EngineOptions, setup: Setup) -> Engine:
    """The engine of the URL's scheme, not yet opened; `InvalidError` if there is none."""
    scheme = options.url.partition(":")[0]
    return _factory(scheme)(options, setup)


def bytes_of(engine: Engine) -> int | None:
    """How many bytes an engine takes on the disk of this machine; None: it does not say."""
    size = getattr(engine, "size", None)
    found: int | None = None if size is None else size()
    return found


def _postgres() -> Factory:
    try:
        from perdure.engines.postgres import PostgresEngine  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        hint = f"PostgreSQL needs {error.name}: pip install 'perdure[postgres]'"
        raise MissingExtraError(hint) from error
    return PostgresEngine


def _factory(scheme: str) -> Factory:
    if scheme in _factories:
        return _factories[scheme]
    if scheme in {"memory", "sqlite"}:
        from perdure.engines.sqlite import SqliteEngine  # noqa: PLC0415 - only when it is used

        return SqliteEngine
    if scheme == "jsonl":
        from perdure.engines.jsonl import JsonlEngine  # noqa: PLC0415 - only when it is used

        return JsonlEngine
    if scheme in {"postgresql", "postgres"}:
        return _postgres()
    # It pulls in much, and only engines of others need it.
    from importlib.metadata import entry_points  # noqa: PLC0415

    for point in entry_points(group="perdure.engines", name=scheme):
        factory: Factory = point.load()
        return factory
    ours = ["memory:", "sqlite:///file.db", "jsonl:///folder", "postgresql://…"]
    known = [*ours, *(f"{name}:" for name in _factories)]
    # Not the whole URL: a password may stand in it.
    raise InvalidError(f"no engine for URLs of {scheme!r}: a URL starts as one of {known}", "url")
