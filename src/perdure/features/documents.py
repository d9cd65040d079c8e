"""Documents: key-values that were set with `index`, in the full-text index and out of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from perdure.features.fulltext import Doc, document, index, reindex, unindex
from perdure.features.memory_rows import MEMORY, Owner
from perdure.features.namespaces import Place as Key
from perdure.operation import Plan, Settings
from perdure.parts import Place, place

#: What the full-text index knows them as.
KIND = "documents"
#: Stands in no stored namespace, so that a key is taken apart again.
_BETWEEN = "\x01"
#: What one block takes.
_DOCUMENTS = 128
_CHARACTERS = 262_144


def owner_of(settings: Settings, app: str, user: str, now: int) -> Owner:
    """Whose key-values; without a user those of the app."""
    where = place(settings.tenant, app, user, settings.limits.text)
    part = where.part if user else where.app_part
    return Owner(part, where.app_part, settings.tenant, app, user, now)


def name_of(key: Key) -> str:
    """The key in the index of a namespace, as it is stored, and a key."""
    return _BETWEEN.join(key)


def key_of(name: str) -> Key:
    """Namespace and key of a key in the index."""
    namespace, _, key = name.partition(_BETWEEN)
    return namespace, key


def keep(owner: Owner, key: Key, text: str) -> Plan[None]:
    """Have a search find the key-value by this text alone, by none if it is empty.

    Its row is written already: who changes the same one comes before all of it, or after.
    """
    if not text:
        yield from forget(owner.part, [key])
        return
    yield from _hold(owner)
    doc = document(name_of(key), text)
    yield from reindex(Place(owner.part, owner.app_part), KIND, doc, block=owner.block)


def keep_all(owner: Owner, known: Iterable[Key], texts: Sequence[tuple[Key, str]]) -> Plan[None]:
    """The same for several, of which those that are ``known`` are in the index."""
    if texts:
        yield from _hold(owner)
    yield from forget(owner.part, known)
    for number, some in enumerate(_blocks(texts)):
        where = Place(owner.part, owner.app_part)
        yield from index(where, KIND, some, block=f"{owner.block}.{number:04d}")


def forget(part: str, keys: Iterable[Key]) -> Plan[None]:
    """Take key-values out of the index; those that are not there are passed over."""
    names = [name_of(key) for key in keys]
    if names:
        yield MEMORY.take_owner(part=part)
        yield from unindex(part, KIND, names)


def _hold(owner: Owner) -> Plan[None]:
    """One writer of an owner's documents at a time; and a search can tell whose they are."""
    yield MEMORY.hold(part=owner.part, tenant=owner.tenant, app=owner.app, user_id=owner.user)


def _blocks(texts: Sequence[tuple[Key, str]]) -> list[list[Doc]]:
    blocks: list[list[Doc]] = []
    size = _CHARACTERS
    for key, text in texts:
        if size >= _CHARACTERS or len(blocks[-1]) >= _DOCUMENTS:
            blocks.append([])
            size = 0
        blocks[-1].append(document(name_of(key), text))
        size += len(text)
    return blocks
