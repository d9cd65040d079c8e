"""The services by their address, for ``adk web`` and whatever else goes by ADK's registry."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from google.adk.cli.service_registry import ServiceRegistry, get_service_registry

from perdure.adapters.adk.artifacts import PerdureArtifactService
from perdure.adapters.adk.memory import PerdureMemoryService
from perdure.adapters.adk.sessions import PerdureSessionService
from perdure.opening import open as open_store
from perdure.store import Store

_PREFIX = "perdure+"
SCHEMES = ("sqlite", "postgresql", "postgres", "jsonl", "memory")
#: What ADK tells every service, and ours has no use for.
_NOT_OURS = ("agents_dir", "per_agent")
#: Services of one address have one store, for as long as one of them is there.
_stores: WeakValueDictionary[tuple[str, str], Store] = WeakValueDictionary()


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
    def made(uri: str, **options: Any) -> Any:
        return kind(_store(uri, options))

    return made


def _store(uri: str, options: dict[str, Any]) -> Store:
    url = uri.removeprefix(_PREFIX)
    # Addresses of ADK have slashes; this one of ours has none.
    url = "memory:" if url == "memory://" else url
    given = {name: value for name, value in options.items() if name not in _NOT_OURS}
    key = (url, repr(sorted(given.items())))
    store = _stores.get(key)
    if store is None:
        store = _stores[key] = open_store(url, **given)
    return store


__all__ = ["SCHEMES", "register"]
