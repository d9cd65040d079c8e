"""The services by their address, for ``adk web`` and whatever else goes by ADK's registry."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias
from weakref import WeakSet

from google.adk.cli.service_registry import ServiceRegistry, get_service_registry

from perdure.adapters.adk.artifacts import PerdureArtifactService
from perdure.adapters.adk.memory import PerdureMemoryService
from perdure.adapters.adk.sessions import PerdureSessionService
from perdure.adapters.colours import is_open
from perdure.opening import open as open_store
from perdure.store import Store

_PREFIX = "perdure+"
SCHEMES = ("sqlite", "postgresql", "postgres", "jsonl", "memory")
#: What ADK tells every service, and ours has no use for.
_NOT_OURS = ("agents_dir", "per_agent")
Key: TypeAlias = tuple[str, str]
"""An address, and the options that a store was opened with"""


class _Shared(NamedTuple):
    """The one store of an address, and the services that have it and are not closed."""

    store: Store
    services: WeakSet[Any]


#: One that nobody has closed is used again, and closed when the interpreter ends.
_stores: dict[Key, _Shared] = {}


def register(registry: ServiceRegistry | None = None) -> None:
    """Have ADK know ``perdure+sqlite:///…`` and its like, for all three kinds of service.

    Behind the ``+`` stands any URL of perdure. What else ADK passes on for sessions
    (``--session_db_kwargs``) are options of `perdure.open`.
    """
    registry = get_service_registry() if registry is None else registry
    for scheme in SCHEMES:
        name = _PREFIX + scheme
        registry.register_session_service(name, _of(PerdureSessionService))
        registry.register_memory_service(name, _of(PerdureMemoryService))
        registry.register_artifact_service(name, _of(PerdureArtifactService))


def _of(kind: type[Any]) -> Any:
    async def close(service: Any) -> None:
        """Close the store, if no other service of this address has it; idempotent."""
        await _left(service)

    # The runner of ADK closes no service; its command, or whoever has made one, may.
    shared = type(kind.__name__, (kind,), {"__doc__": kind.__doc__, "close": close})

    def made(uri: str, **options: Any) -> Any:
        found = _shared(uri, options)
        service = shared(found.store)
        found.services.add(service)
        return service

    return made


async def _left(service: Any) -> None:
    for key, found in list(_stores.items()):
        if service in found.services:
            found.services.discard(service)
            if not found.services:
                del _stores[key]
                await found.store.close()


def _shared(uri: str, options: dict[str, Any]) -> _Shared:
    url = uri.removeprefix(_PREFIX)
    # Addresses of ADK have slashes; this one of ours has none.
    url = "memory:" if url == "memory://" else url
    given = {name: value for name, value in options.items() if name not in _NOT_OURS}
    key = (url, repr(sorted(given.items())))
    found = _stores.get(key)
    if found is None or not is_open(found.store):
        found = _stores[key] = _Shared(open_store(url, **given), WeakSet())
    return found


__all__ = ["SCHEMES", "register"]
