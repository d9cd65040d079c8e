"""The sender of webhooks, with a real server: signed, at least once, again after a failure."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

import perdure
from perdure import SyncStore, Webhook
from perdure.testing.clocks import FixedClock
from perdure.webhooks import SIGNATURE, verify
from perdure.workers import WebhookSender
from perdure.workers.posting import is_public, post
from perdure.workers.webhooks import wait_after
from tests.engines.processes import python
from tests.workers.receiver import Receiver, receiving

SECRET = "a secret of some length"

KILLED = """
import os, signal, sys, perdure
from perdure.workers import WebhookSender
hook = perdure.Webhook(url=sys.argv[2], secret=sys.argv[3], allow_private=True)
store = perdure.open_sync(sys.argv[1], webhooks=[hook])
WebhookSender(store).run_once()
print("never", flush=True)
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


def hook_of(receiver: Receiver, **more: Any) -> Webhook:
    return Webhook(**{"url": receiver.url, "secret": SECRET, "allow_private": True, **more})


@pytest.fixture
def store(receiver: Receiver, clock: FixedClock, tmp_path: Path) -> Iterator[SyncStore]:
    url = f"sqlite:///{tmp_path}/agent.db"
    with perdure.open_sync(url, webhooks=[hook_of(receiver)], clock=clock) as made:
        yield made


def waiting(store: SyncStore) -> list[tuple[int, str]]:
    """Attempts and failure of what is still to be told."""
    rows = [json.loads(line) for user in ("ada", "eve") for line in store.export_user("shop", user)]
    outbox = [line["row"] for line in rows if line["table"] == "outbox"]
    return [(row["attempts"], row["failure"]) for row in outbox]


def test_a_fact_comes_signed_with_what_happened(
    store: SyncStore, receiver: Receiver, clock: FixedClock
) -> None:
    made = store.sessions.create("shop", "ada", "order-7")

    assert WebhookSender(store).run_once() == 1

    [came] = receiver.requests
    fact = verify(came.body, came.headers[SIGNATURE], SECRET)
    assert fact == {
        "id": came.headers["Perdure-Id"],
        "kind": "session.created",
        "tenant": "",
        "created_at": clock.now.isoformat(),
        "data": {"app": "shop", "user": "ada", "session": "order-7", "uid": made.uid},
    }
    assert came.headers["Perdure-Kind"] == "session.created"
    assert came.headers["Content-Type"] == "application/json"
    assert came.path == "/hook?a=1"
    assert waiting(store) == []


def test_facts_come_in_their_order_each_once(
    store: SyncStore, receiver: Receiver, clock: FixedClock
) -> None:
    for number in range(5):
        store.sessions.create("shop", "ada", f"order-{number}")
        clock.advance(timedelta(milliseconds=1))
    sender = WebhookSender(store)

    assert (sender.run_once(), sender.run_once()) == (5, 0)

    sessions = [json.loads(came.body)["data"]["session"] for came in receiver.requests]
    assert sessions == [f"order-{number}" for number in range(5)]


@pytest.mark.parametrize("status", [301, 400, 410, 500, 503])
def test_what_was_not_taken_is_told_again_later(
    store: SyncStore, receiver: Receiver, clock: FixedClock, status: int
) -> None:
    receiver.answer = lambda _: (status, {"Location": receiver.url})
    store.sessions.create("shop", "ada")
    sender = WebhookSender(store)

    assert sender.run_once() == 0
    assert waiting(store) == [(1, f"the answer was {status}")]
    assert sender.run_once() == 0
    clock.advance(timedelta(seconds=6))
    receiver.answer = lambda _: (200, {})

    assert sender.run_once() == 1
    assert waiting(store) == []
    first, second = receiver.requests
    assert first.body == second.body
    assert first.method == second.method == "POST"


def test_a_redirect_is_not_followed(store: SyncStore, receiver: Receiver) -> None:
    receiver.answer = lambda _: (302, {"Location": "/elsewhere"})
    store.sessions.create("shop", "ada")

    WebhookSender(store).run_once()

    assert [came.path for came in receiver.requests] == ["/hook?a=1"]


def test_the_waits_grow_to_an_hour() -> None:
    assert [wait_after(attempts, 0) for attempts in (1, 2, 3, 10, 11, 1000)] == [
        5, 10, 20, 2560, 3600, 3600,
    ]  # fmt: skip
    assert wait_after(1, 1) == 4.5


def test_after_a_failure_the_others_of_that_webhook_wait_for_the_next_round(
    store: SyncStore, receiver: Receiver
) -> None:
    receiver.answer = lambda _: (500, {})
    for number in range(3):
        store.sessions.create("shop", "ada", f"order-{number}")
    sender = WebhookSender(store)

    for _ in range(3):
        sender.run_once()

    assert len(receiver.requests) == 3
    assert sorted(attempts for attempts, _ in waiting(store)) == [1, 1, 1]


def test_a_webhook_that_fails_holds_up_no_other(
    receiver: Receiver, clock: FixedClock, tmp_path: Path
) -> None:
    with receiving() as broken:
        broken.answer = lambda _: (500, {})
        hooks = [hook_of(broken), hook_of(receiver)]
        url = f"sqlite:///{tmp_path}/agent.db"
        with perdure.open_sync(url, webhooks=hooks, clock=clock) as store:
            store.sessions.create("shop", "ada", "one")
            store.sessions.create("shop", "ada", "two")

            assert WebhookSender(store).run_once() == 2
            assert len(waiting(store)) == 2


def test_nobody_who_listens_is_a_failure_as_others_are(receiver: Receiver, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    hooks = [hook_of(receiver, url=url)]
    with perdure.open_sync(f"sqlite:///{tmp_path}/agent.db", webhooks=hooks) as store:
        store.sessions.create("shop", "ada")
        WebhookSender(store).run_once()
        [(attempts, failure)] = waiting(store)

    assert attempts == 1
    assert "refused" in failure.lower()


def test_who_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        hook = Webhook(url=url, secret=SECRET, allow_private=True, timeout=0.2)
        began = time.monotonic()

        assert "timed out" in post(hook, {}, b"{}")
        assert time.monotonic() - began < 10
    del tmp_path


def test_private_addresses_are_refused_unless_they_are_allowed(
    receiver: Receiver, tmp_path: Path
) -> None:
    hooks = [hook_of(receiver, allow_private=False)]
    with perdure.open_sync(f"sqlite:///{tmp_path}/agent.db", webhooks=hooks) as store:
        store.sessions.create("shop", "ada")
        WebhookSender(store).run_once()
        [(_, failure)] = waiting(store)

    assert "private address" in failure
    assert receiver.requests == []


def test_a_name_that_stands_for_a_private_address_is_refused(receiver: Receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "localhost")

    assert "private address" in post(Webhook(url=url, secret=SECRET), {}, b"{}")
    assert receiver.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1",
        "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_what_is_no_address_of_the_open_internet_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_an_address_of_the_open_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_sender_killed_between_telling_and_noting_tells_it_again(
    store: SyncStore, receiver: Receiver, clock: FixedClock
) -> None:
    # That of the other process is the machine's.
    clock.set(datetime.now(UTC))
    store.sessions.create("shop", "ada", "order-7")
    killed = threading.Event()
    with python(KILLED, store._resolved.url, receiver.url, SECRET) as process:

        def kill(_: object) -> tuple[int, dict[str, str]]:
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            killed.set()
            return 200, {}

        receiver.answer = kill
        assert killed.wait(20)
    receiver.answer = lambda _: (200, {})
    # Its lease has to run out first.
    sender = WebhookSender(store)
    assert sender.run_once() is None
    clock.advance(timedelta(minutes=2))

    assert sender.run_once() == 1
    first, second = receiver.requests
    assert first.headers["Perdure-Id"] == second.headers["Perdure-Id"]
    assert waiting(store) == []


def test_of_two_senders_at_once_one_tells(
    store: SyncStore, receiver: Receiver, clock: FixedClock
) -> None:
    store.sessions.create("shop", "ada", "order-7")
    other = perdure.open_sync(store._resolved.url, webhooks=[hook_of(receiver)], clock=clock)
    outcomes: list[object] = []

    def look(_: object) -> tuple[int, dict[str, str]]:
        outcomes.append(WebhookSender(other).run_once())
        return 200, {}

    receiver.answer = look
    assert WebhookSender(store).run_once() == 1
    other.close()

    assert outcomes == [None]
    assert len(receiver.requests) == 1


def test_started_workers_tell_by_themselves(store: SyncStore, receiver: Receiver) -> None:
    workers = store.start_workers()
    store.sessions.create("shop", "ada", "order-7")

    deadline = time.monotonic() + 20
    while not receiver.requests and time.monotonic() < deadline:
        for worker in workers:
            worker.wake()
        time.sleep(0.01)

    assert {worker.name for worker in workers} == {"sweeper", "webhooks"}
    assert workers.stop() is True
    assert len(receiver.requests) == 1


def test_a_sender_of_an_async_store_does_not_hold_up_its_loop(
    receiver: Receiver, tmp_path: Path
) -> None:
    told = threading.Event()

    def slow(_: object) -> tuple[int, dict[str, str]]:
        told.wait(20)
        return 200, {}

    receiver.answer = slow

    async def work() -> int | None:
        url = f"sqlite:///{tmp_path}/agent.db"
        async with perdure.open(url, webhooks=[hook_of(receiver)]) as store:
            await store.sessions.create("shop", "ada")
            telling = asyncio.create_task(WebhookSender(store).run_once())
            while not receiver.requests:  # noqa: ASYNC110 - a thread takes them
                await asyncio.sleep(0.005)
            # The loop runs while the server takes its time.
            told.set()
            return await telling

    assert asyncio.run(work()) == 1


def test_an_erased_person_is_told_of_and_nothing_older(
    store: SyncStore, receiver: Receiver
) -> None:
    store.sessions.create("shop", "ada", "order-7")
    store.erase_user("shop", "ada")
    with suppress(LookupError):
        store.sessions.get(perdure.SessionKey("shop", "ada", "order-7"))

    assert WebhookSender(store).run_once() == 1
    assert json.loads(receiver.requests[0].body)["kind"] == "user.erased"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_over_https_the_certificate_must_be_that_of_the_host(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {name: str(tmp_path / name) for name in ("key.pem", "cert.pem")}
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    made += ["-keyout", paths["key.pem"], "-out", paths["cert.pem"]]
    subprocess.run(made, check=True, capture_output=True)
    with receiving(certificate=(paths["cert.pem"], paths["key.pem"])) as secure:
        url = secure.url.replace("127.0.0.1", "localhost")
        trusted = hook_of(secure, url=url)

        assert "certificate" in post(trusted, {}, b"{}")
        monkeypatch.setenv("SSL_CERT_FILE", paths["cert.pem"])
        assert post(trusted, {}, b"{}") == ""
        assert "certificate" in post(hook_of(secure), {}, b"{}")
        assert len(secure.requests) == 1
    assert receiver.requests == []
