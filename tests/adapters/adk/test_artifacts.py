"""The contract of ADK's artifact services, restated from its documentation and its source."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("google.adk.sessions", reason="needs google-adk: see .ci/adapters")

from google.adk.artifacts import artifact_util
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.input_validation_error import InputValidationError
from google.genai import types

from perdure.adapters.adk import PerdureArtifactService, PerdureSessionService
from perdure.records import UserScope
from tests.adapters.adk.making import APP, AT, ID, KEY, USER, WHERE, event

pytestmark = pytest.mark.filterwarnings("default")

Body = Callable[[PerdureArtifactService], Coroutine[Any, Any, None]]
Case = Callable[[Body], None]


@pytest.fixture
def case(url: str) -> Case:
    """Runs the body of a case with a service over a store with one session."""

    def run(body: Body) -> None:
        async def main() -> None:
            async with PerdureArtifactService(url) as service:
                await PerdureSessionService(service.store).create_session(**AT)
                await body(service)

        asyncio.run(main())

    return run


def part(data: bytes = b"\x00\xff", mime_type: str = "image/png", **fields: Any) -> types.Part:
    return types.Part(inline_data=types.Blob(data=data, mime_type=mime_type, **fields))


def test_a_file_comes_back_as_it_was_saved(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "a.png"}
        saved = part(bytes(range(256)), display_name="A duck.png")

        assert await service.save_artifact(**file, artifact=saved) == 0
        assert await service.load_artifact(**file) == saved

    case(body)


def test_versions_count_from_nought(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "a.png"}
        saved = [part(b"%d" % n) for n in range(4)]
        numbers = [await service.save_artifact(**file, artifact=one) for one in saved]

        assert numbers == [0, 1, 2, 3]
        assert await service.list_versions(**file) == numbers
        assert await service.load_artifact(**file) == saved[3]
        for number, one in enumerate(saved):
            assert await service.load_artifact(**file, version=number) == one

    case(body)


def test_what_is_not_there_is_none(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "a.png"}
        assert await service.load_artifact(**file) is None
        assert await service.get_artifact_version(**file) is None
        assert await service.list_versions(**file) == []
        assert await service.list_artifact_versions(**file) == []
        await service.delete_artifact(**file)
        await service.save_artifact(**file, artifact=part())
        for version in (1, 99, -1):
            assert await service.load_artifact(**file, version=version) is None
            assert await service.get_artifact_version(**file, version=version) is None

    case(body)


def test_a_session_that_is_not_there_has_no_files(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "session_id": "never", "filename": "a.png"}
        assert await service.load_artifact(**file) is None
        assert await service.list_versions(**file) == []
        assert await service.list_artifact_versions(**file) == []
        assert await service.get_artifact_version(**file) is None
        assert await service.list_artifact_keys(**WHERE, session_id="never") == []
        await service.delete_artifact(**file)

    case(body)


@pytest.mark.parametrize(
    "saved",
    [
        types.Part(text="words"),
        types.Part(text=""),
        types.Part(text="é🦆\0"),
        part(b""),
        part(b"x", "text/plain"),
        types.Part(file_data=types.FileData(file_uri="gs://b/a.pdf", mime_type="application/pdf")),
        types.Part(file_data=types.FileData(file_uri="https://example.org/a")),
    ],
)
def test_texts_bytes_and_references_are_kept_as_what_they_are(
    case: Case, saved: types.Part
) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "a"}
        await service.save_artifact(**file, artifact=saved)
        assert await service.load_artifact(**file) == saved

    case(body)


@pytest.mark.parametrize(
    "given",
    [
        {"inlineData": {"mimeType": "image/png", "data": "AP8="}},
        {"inline_data": {"mime_type": "image/png", "data": "AP8="}},
    ],
)
def test_a_plain_dict_will_do(case: Case, given: dict[str, Any]) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "a"}
        await service.save_artifact(**file, artifact=given)
        assert await service.load_artifact(**file) == types.Part.model_validate(given)

    case(body)


def test_what_is_no_file_is_refused(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        call = types.Part(function_call=types.FunctionCall(name="f"))
        for nothing in (types.Part(), call):
            with pytest.raises(InputValidationError):
                await service.save_artifact(**AT, filename="a", artifact=nothing)
        assert await service.list_artifact_keys(**AT) == []

    case(body)


def test_a_name_with_user_is_the_users_in_every_session(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        await service.save_artifact(**AT, filename="user:me.png", artifact=part(b"me"))
        elsewhere = {**AT, "session_id": "s2", "filename": "user:me.png"}

        assert await service.load_artifact(**elsewhere) == part(b"me")
        assert await service.save_artifact(**elsewhere, artifact=part(b"new")) == 1
        assert await service.load_artifact(**WHERE, filename="user:me.png") == part(b"new")
        other = {**AT, "user_id": "bob"}
        assert await service.load_artifact(**other, filename="user:me.png") is None

    case(body)


def test_without_a_session_a_file_is_the_users(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        assert await service.save_artifact(**WHERE, filename="a", artifact=part(b"1")) == 0

        assert await service.load_artifact(**WHERE, filename="a") == part(b"1")
        assert await service.load_artifact(**AT, filename="a") is None
        assert await service.load_artifact(**AT, filename="user:a") == part(b"1")
        assert await service.list_artifact_keys(**WHERE) == ["user:a"]

    case(body)


def test_two_sessions_may_have_a_file_of_the_same_name(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        await service.save_artifact(**AT, filename="a", artifact=part(b"1"))
        other = {**AT, "session_id": "s2", "filename": "a"}

        assert await service.save_artifact(**other, artifact=part(b"2")) == 0
        assert await service.load_artifact(**AT, filename="a") == part(b"1")
        assert await service.load_artifact(**other) == part(b"2")

    case(body)


def test_a_list_has_the_sessions_files_and_the_users(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        for name in ("z.txt", "user:me.png", "a/b.txt"):
            for _ in range(2):
                await service.save_artifact(**AT, filename=name, artifact=part())

        names = await service.list_artifact_keys(**AT)
        assert names == ["a/b.txt", "user:me.png", "z.txt"]
        assert await service.list_artifact_keys(**WHERE) == ["user:me.png"]
        assert await service.list_artifact_keys(**WHERE, session_id="s2") == ["user:me.png"]
        for name in names:
            assert await service.load_artifact(**AT, filename=name) is not None

    case(body)


def test_a_long_list_is_complete(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.adapters.adk.artifacts._PAGE", 3)

    async def body(service: PerdureArtifactService) -> None:
        for number in range(10):
            await service.save_artifact(**AT, filename="a", artifact=part(b"%d" % number))

        assert await service.list_versions(**AT, filename="a") == list(range(10))
        assert len(await service.list_artifact_versions(**AT, filename="a")) == 10

    case(body)


def test_a_deleted_file_is_gone_with_all_versions(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "a"}
        for _ in range(2):
            await service.save_artifact(**file, artifact=part())
        await service.save_artifact(**AT, filename="b", artifact=part())
        await service.delete_artifact(**file)

        assert await service.load_artifact(**file) is None
        assert await service.load_artifact(**file, version=0) is None
        assert await service.list_versions(**file) == []
        assert await service.list_artifact_keys(**AT) == ["b"]

    case(body)


@pytest.mark.xfail(
    strict=True, reason="numbers are never given twice: what an event says of one stays true"
)
def test_after_a_delete_versions_count_from_nought_again(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "a"}
        await service.save_artifact(**file, artifact=part())
        await service.delete_artifact(**file)
        assert await service.save_artifact(**file, artifact=part()) == 0

    case(body)


def test_what_is_known_of_a_version(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "a"}
        before = time.time()
        custom = {"page": 1, "deep": {"x": [None, True]}}
        await service.save_artifact(**file, artifact=part(), custom_metadata=custom)
        await service.save_artifact(**file, artifact=types.Part(text="hi"))

        first, second = await service.list_artifact_versions(**file)
        assert (first.version, first.mime_type, first.custom_metadata) == (0, "image/png", custom)
        assert (second.version, second.mime_type, second.custom_metadata) == (1, "text/plain", {})
        assert before - 1 <= first.create_time <= second.create_time <= time.time() + 1
        assert first.canonical_uri.endswith(
            f"/apps/{APP}/users/{USER}/sessions/{ID}/artifacts/a/versions/0"
        )
        assert await service.get_artifact_version(**file) == second
        assert await service.get_artifact_version(**file, version=0) == first

    case(body)


def test_a_users_file_has_an_address_without_a_session(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "user:a"}
        await service.save_artifact(**file, artifact=part())

        found = await service.get_artifact_version(**file)
        assert found is not None
        assert "/sessions/" not in found.canonical_uri

    case(body)


@pytest.mark.parametrize(
    "name",
    ["../a", "a/../b", "/etc/passwd", "\\a", "C:\\a", "C:a", "..", ".", "", "  ", "a\0b", "a//b",
     "user:../a", "user:/a", "user:"],
)  # fmt: skip
def test_a_name_that_could_leave_its_folder_is_refused(case: Case, name: str) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": name}
        for refused in (
            service.save_artifact(**file, artifact=part()),
            service.load_artifact(**file),
            service.delete_artifact(**file),
            service.list_versions(**file),
            service.list_artifact_versions(**file),
            service.get_artifact_version(**file),
        ):
            with pytest.raises(InputValidationError):
                await refused

    case(body)


@pytest.mark.parametrize("bad", ["..", "../x", "a/../b", "/a", "a\0b", "", " ", "C:x"])
@pytest.mark.parametrize("where", ["app_name", "user_id", "session_id"])
def test_an_id_that_could_leave_its_folder_is_refused(case: Case, where: str, bad: str) -> None:
    async def body(service: PerdureArtifactService) -> None:
        at = {**AT, where: bad}
        with pytest.raises(InputValidationError):
            await service.save_artifact(**at, filename="a", artifact=part())
        with pytest.raises(InputValidationError):
            await service.load_artifact(**at, filename="a")
        with pytest.raises(InputValidationError):
            await service.list_artifact_keys(**at)

    case(body)


def _reference(name: str, version: int = 0, session: str | None = ID, user: str = USER) -> Any:
    uri = artifact_util.get_artifact_uri(APP, user, name, version, session)
    return types.Part(file_data=types.FileData(file_uri=uri, mime_type="image/png"))


def test_a_reference_gives_what_it_points_to(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        await service.save_artifact(**AT, filename="a", artifact=part(b"old"))
        await service.save_artifact(**AT, filename="a", artifact=part(b"new"))
        await service.save_artifact(**AT, filename="to", artifact=_reference("a"))
        await service.save_artifact(**AT, filename="again", artifact=_reference("to"))

        assert await service.load_artifact(**AT, filename="to") == part(b"old")
        assert await service.load_artifact(**AT, filename="again") == part(b"old")
        known = await service.get_artifact_version(**AT, filename="to")
        assert known is not None
        assert known.mime_type is None

    case(body)


def test_a_reference_may_not_leave_its_user_or_its_session(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        for stray in (
            _reference("a", user="bob"),
            _reference("a", session="s2"),
            types.Part(file_data=types.FileData(file_uri="artifact://nowhere")),
        ):
            with pytest.raises(InputValidationError):
                await service.save_artifact(**AT, filename="x", artifact=stray)

    case(body)


def test_references_in_a_circle_are_told(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        await service.save_artifact(**AT, filename="a", artifact=_reference("b"))
        await service.save_artifact(**AT, filename="b", artifact=_reference("a"))
        with pytest.raises(InputValidationError, match="circle"):
            await service.load_artifact(**AT, filename="a")

    case(body)


def test_what_a_rewind_has_removed_is_gone(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "a"}
        await service.save_artifact(**file, artifact=part())
        await service.save_artifact(**file, artifact=artifact_util._new_rewind_tombstone())

        assert await service.load_artifact(**file) is None
        assert await service.load_artifact(**file, version=0) == part()

    case(body)


def test_of_many_saves_at_once_none_shares_a_number(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        file = {**AT, "filename": "a"}
        saves = [service.save_artifact(**file, artifact=part(b"%d" % n)) for n in range(12)]
        numbers = await asyncio.gather(*saves)

        assert sorted(numbers) == list(range(12))
        for n, number in enumerate(numbers):
            assert await service.load_artifact(**file, version=number) == part(b"%d" % n)

    case(body)


def test_files_may_come_before_their_session(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        sessions = PerdureSessionService(service.store)
        at = {**AT, "session_id": "later"}
        await service.save_artifact(**at, filename="a", artifact=part(b"early"))
        assert await sessions.get_session(**at) is None
        assert [one.id for one in (await sessions.list_sessions(**WHERE)).sessions] == [ID]

        state = {"own": 1, "user:u": 2, "app:a": 3, "temp:t": 4}
        made = await sessions.create_session(**at, state=state)
        assert made.state == {"own": 1, "user:u": 2, "app:a": 3}
        assert await service.load_artifact(**at, filename="a") == part(b"early")
        await sessions.append_event(made, event("hi"))
        with pytest.raises(AlreadyExistsError):
            await sessions.create_session(**at)
        assert len((await sessions.list_sessions(**WHERE)).sessions) == 2

    case(body)


def test_files_go_with_their_session_and_their_user(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        sessions = PerdureSessionService(service.store)
        await service.save_artifact(**AT, filename="a", artifact=part())
        await sessions.delete_session(**AT)
        await sessions.create_session(**AT)
        assert await service.load_artifact(**AT, filename="a") is None

        await service.save_artifact(**AT, filename="user:b", artifact=part())
        receipt = await service.store.erase_user(APP, USER)
        assert receipt.removed["artifacts"] == 1
        assert await service.load_artifact(**AT, filename="user:b") is None

    case(body)


def test_what_the_store_has_saved_is_a_file_of_adk(case: Case) -> None:
    async def body(service: PerdureArtifactService) -> None:
        key = KEY
        await service.store.artifacts.save(key, "a", b"raw", mime_type="text/csv")
        await service.store.artifacts.save(UserScope(APP, USER), "b", b"raw")

        assert await service.load_artifact(**AT, filename="a") == part(b"raw", "text/csv")
        assert await service.list_artifact_keys(**AT) == ["a", "user:b"]
        await service.save_artifact(**AT, filename="c", artifact=types.Part(text="words"))
        assert (await service.store.artifacts.load(key, "c")).data == b"words"

    case(body)
