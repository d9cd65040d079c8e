"""How a receiver tells a store from somebody else, and what a webhook may be."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from typing import Any

import pytest

from perdure import DeniedError, InvalidError, Webhook
from perdure.webhooks import KINDS, sign, verify

SECRET = "a secret of some length"
BODY = b'{"id":"1"}'
AT = 1_700_000_000


def test_a_signature_is_what_anybody_can_compute() -> None:
    expected = hmac.new(SECRET.encode(), b"1700000000." + BODY, hashlib.sha256).hexdigest()

    assert sign(SECRET, BODY, AT) == f"t=1700000000,v1={expected}"


def test_what_was_signed_is_trusted() -> None:
    assert verify(BODY, sign(SECRET, BODY, AT), SECRET, now=AT + 10) == {"id": "1"}


def test_one_of_several_secrets_is_enough_while_one_takes_the_place_of_another() -> None:
    header = sign(SECRET, BODY, AT)

    assert verify(BODY, header, ["another secret, newer", SECRET], now=AT) == {"id": "1"}
    with pytest.raises(DeniedError):
        verify(BODY, header, ["another secret, newer"], now=AT)


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b'{"id":"2"}', sign(SECRET, BODY, AT)),
        (BODY, sign("another secret, newer", BODY, AT)),
        (BODY, sign(SECRET, BODY, AT).replace("t=17", "t=18")),
        (BODY, sign(SECRET, BODY, AT)[:-1]),
        (BODY, "t=1700000000"),
        (BODY, "t=1700000000,v1="),
        (BODY, "v1=" + "0" * 64),
        (BODY, "t=now,v1=" + "0" * 64),
        (BODY, "t=-1,v1=" + "0" * 64),
        (BODY, "t=1,t=2,v1=" + "0" * 64),
        (BODY, ""),
        (BODY, "t=1700000000,v1=\u00e9"),
    ],
)
def test_what_was_not_signed_so_is_denied(body: bytes, header: str) -> None:
    with pytest.raises(DeniedError):
        verify(body, header, SECRET, now=AT)


def test_a_copy_of_an_old_message_is_denied() -> None:
    header = sign(SECRET, BODY, AT)

    for now in (AT + 301, AT - 301):
        with pytest.raises(DeniedError, match="copy"):
            verify(BODY, header, SECRET, now=now)
    assert verify(BODY, header, SECRET, now=AT + 301, tolerance=timedelta(minutes=6))
    with pytest.raises(DeniedError):
        verify(BODY, header, SECRET)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://example.org/"},
        {"url": "https://"},
        {"url": "example.org"},
        {"url": "https://example.org/\r\nX: y"},
        {"url": "https://user:word@example.org/"},
        {"url": "https://example.org:99999/"},
        {"url": "https://ex\u00e4mple.org/"},
        {"url": 7},
        {"secret": "too short"},
        {"secret": b"bytes are no text here"},
        {"kinds": []},
        {"kinds": "session.created"},
        {"kinds": ["session.creatd"]},
        {"timeout": 0},
        {"timeout": 601},
        {"timeout": "10"},
    ],
)
def test_a_webhook_refuses_what_makes_no_sense(wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"url": "https://example.org/", "secret": SECRET, **wrong}

    with pytest.raises(InvalidError):
        Webhook(**given)


def test_a_webhook_shows_no_secret() -> None:
    assert SECRET not in repr(Webhook(url="https://example.org/", secret=SECRET))


def test_kinds_may_be_patterns() -> None:
    hook = Webhook(url="https://example.org/", secret=SECRET, kinds=["session.*"])

    assert {kind for kind in KINDS if hook.wants(kind)} == {
        "session.created",
        "session.deleted",
        "session.restored",
    }
