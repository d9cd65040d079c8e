"""Where ours differs from the SDK's own session, on purpose: each with the reason."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("agents.memory", reason="needs openai-agents: see .ci/adapters")
fernet = pytest.importorskip("cryptography.fernet", reason="needs what encrypted sessions need")

from agents.extensions.memory import EncryptedSession
from agents.memory import SQLiteSession

from perdure import CorruptError, InvalidError
from perdure.adapters.openai_agents import PerdureSession
from tests.adapters.openai_agents.making import texts, user

pytestmark = pytest.mark.filterwarnings("default")


class Kind(NamedTuple):
    """A kind of session: how to make one, and how to damage its second item."""

    make: Callable[..., Any]
    damage: str


THEIRS = Kind(SQLiteSession, "UPDATE agent_messages SET message_data = '{x' WHERE id = 2")
OURS = Kind(PerdureSession, "UPDATE events SET content = '{x' WHERE seq = 2")


def differing(reason: str, raises: Any) -> Any:
    """Theirs does it, ours does not, and raises that."""
    differs = pytest.mark.xfail(strict=True, reason=reason, raises=raises)
    both = [pytest.param(THEIRS, id="theirs"), pytest.param(OURS, id="ours", marks=differs)]
    return pytest.mark.parametrize("kind", both)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.db"


@differing("a key is no name without a letter: nobody finds that session again", InvalidError)
@pytest.mark.parametrize("name", ["", "  "])
async def test_an_id_may_be_blank(kind: Kind, path: Path, name: str) -> None:
    with_id = kind.make(name, path)

    await with_id.add_items([user("x")])

    assert await with_id.get_items() == [user("x")]


@differing("a key has up to 512 bytes, on every engine", InvalidError)
async def test_an_id_may_have_any_length(kind: Kind, path: Path) -> None:
    session = kind.make("x" * 600, path)

    await session.add_items([user("x")])

    assert await session.get_items() == [user("x")]


@differing(
    "what is damaged is told of: silence is how a conversation loses its middle", CorruptError
)
async def test_a_damaged_item_is_passed_over(kind: Kind, path: Path) -> None:
    session = kind.make("chat", path)
    await session.add_items([user("first"), user("second"), user("third")])
    session.close()
    connection = sqlite3.connect(path)
    connection.execute(kind.damage)
    connection.commit()
    connection.close()

    assert texts(await kind.make("chat", path).get_items()) == ["first", "third"]


@differing(
    "the wrapper has a way of its own for SQLiteSession alone: here it is taken off, and kept",
    pytest.fail.Exception,
)
async def test_a_pop_with_the_wrong_key_leaves_the_item_where_it_is(kind: Kind, path: Path) -> None:
    session = kind.make("chat", path)
    await EncryptedSession("chat", session, encryption_key="right").add_items([user("first")])

    with pytest.raises(fernet.InvalidToken):
        await EncryptedSession("chat", session, encryption_key="wrong").pop_item()

    assert len(await session.get_items()) == 1
