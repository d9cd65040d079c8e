"""`PerdureArtifactService`: ADK's artifacts in a perdure store."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from google.adk.artifacts import artifact_util
from google.adk.artifacts.base_artifact_service import (
    ArtifactVersion,
    BaseArtifactService,
    ensure_part,
)
from google.adk.errors.input_validation_error import InputValidationError
from google.genai import types

from perdure.adapters.adk.encoding import plain_state
from perdure.adapters.adk.placeholders import hold_place
from perdure.adapters.service import Service
from perdure.errors import InvalidError, NotFoundError, TooLargeError
from perdure.records import Artifact, ArtifactScope, LoadedArtifact, SessionKey, UserScope

_KEY = "adk"
_USER = "user:"
_PAGE = 1_000
_TEXT = "text/plain"
_BYTES = "application/octet-stream"


class PerdureArtifactService(Service, BaseArtifactService):
    """An ADK artifact service over ``store.artifacts``.

    Files of a session go with it; those without a session, and those whose name begins with
    ``user:``, are the user's. ``store`` is as for `PerdureSessionService`. A session that is kept
    somewhere else, or comes later, need not be in the store.
    """

    # -- saving ------------------------------------------------------------------------------

    async def save_artifact(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        artifact: types.Part | dict[str, Any],
        session_id: str | None = None,
        custom_metadata: dict[str, Any] | None = None,
    ) -> int:
        """Store the next version of the file; its number, from 0 on, never given twice.

        Bytes, a text, or a reference to a file elsewhere (``file_data``). `InputValidationError`
        for a name that could leave its folder, and for a part that is none of these.
        """
        scope = _scope(app_name, user_id, session_id, filename)
        part = ensure_part(artifact)
        data, mime_type = _payload(part, app_name, user_id, session_id)
        metadata: dict[str, Any] = {_KEY: _about(part)}
        if custom_metadata:
            metadata["custom"] = plain_state(custom_metadata)
        try:
            saved = await self._save(scope, filename, data, mime_type, metadata)
        except TooLargeError:
            raise
        except InvalidError as error:
            raise InputValidationError(str(error)) from error
        return saved.version

    async def _save(
        self,
        scope: ArtifactScope,
        name: str,
        data: bytes,
        mime_type: str,
        metadata: Mapping[str, Any],
    ) -> Artifact:
        save = self.store.artifacts.save
        try:
            return await save(scope, name, data, mime_type=mime_type, metadata=metadata)
        except NotFoundError:
            if not isinstance(scope, SessionKey):
                raise
            await hold_place(self.store, scope)
            return await save(scope, name, data, mime_type=mime_type, metadata=metadata)

    # -- loading -----------------------------------------------------------------------------

    async def load_artifact(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        session_id: str | None = None,
        version: int | None = None,
    ) -> types.Part | None:
        """The file as it was saved, its latest version if none is named; None if there is none.

        A file that is a reference to another one, ``artifact://…``, gives that one.
        """
        for _ in range(artifact_util._MAX_ARTIFACT_REFERENCE_DEPTH + 1):
            found = await self._load(app_name, user_id, session_id, filename, version)
            if found is None:
                return None
            part = _part(found)
            if not artifact_util.is_artifact_ref(part):
                gone = part == types.Part() or artifact_util._is_rewind_tombstone(part)
                return None if gone else part
            to = _target(part, app_name, user_id, session_id)
            session_id, filename, version = to.session_id, to.filename, to.version
        message = f"references of artifact {filename!r} go on and on, or in a circle"
        raise InputValidationError(message)

    async def _load(
        self,
        app_name: str,
        user_id: str,
        session_id: str | None,
        filename: str,
        version: int | None,
    ) -> LoadedArtifact | None:
        scope = _scope(app_name, user_id, session_id, filename)
        if version is not None and version < 0:
            return None
        try:
            return await self.store.artifacts.load(scope, filename, version=version)
        except NotFoundError:
            return None
        except InvalidError as error:
            raise InputValidationError(str(error)) from error

    # -- listing -----------------------------------------------------------------------------

    async def list_artifact_keys(
        self, *, app_name: str, user_id: str, session_id: str | None = None
    ) -> list[str]:
        """The names of the session's files and of the user's, sorted; without one the user's.

        Those of the user begin with ``user:``, so that each can be loaded by what stands here.
        """
        _check(app_name, user_id, session_id)
        user = UserScope(app_name, user_id)
        names = [_USER + one.name async for one in self.store.artifacts.iter(user)]
        if session_id:
            names += await self._of_session(SessionKey(app_name, user_id, session_id))
        return sorted(names)

    async def _of_session(self, key: SessionKey) -> list[str]:
        try:
            return [one.name async for one in self.store.artifacts.iter(key)]
        except NotFoundError:
            return []

    async def list_versions(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> list[int]:
        """The numbers of all versions of the file, from the oldest on."""
        scope = _scope(app_name, user_id, session_id, filename)
        return [one.version for one in await self._versions(scope, filename)]

    async def list_artifact_versions(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> list[ArtifactVersion]:
        """What is known of each version of the file, from the oldest on."""
        scope = _scope(app_name, user_id, session_id, filename)
        found = await self._versions(scope, filename)
        return [_version(one, scope, filename) for one in found]

    async def _versions(self, scope: ArtifactScope, filename: str) -> list[Artifact]:
        found: list[Artifact] = []
        cursor = None
        try:
            while True:
                page = await self.store.artifacts.versions(
                    scope, filename, cursor=cursor, limit=_PAGE
                )
                found += page.items
                cursor = page.next_cursor
                if cursor is None:
                    return found
        except NotFoundError:
            return []
        except InvalidError as error:
            raise InputValidationError(str(error)) from error

    async def get_artifact_version(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        session_id: str | None = None,
        version: int | None = None,
    ) -> ArtifactVersion | None:
        """What is known of a version, the latest if none is named; None if there is none."""
        scope = _scope(app_name, user_id, session_id, filename)
        if version is not None and version < 0:
            return None
        try:
            found = await self.store.artifacts.find_version(scope, filename, version)
        except NotFoundError:
            return None
        except InvalidError as error:
            raise InputValidationError(str(error)) from error
        return None if found is None else _version(found, scope, filename)

    # -- deleting ----------------------------------------------------------------------------

    async def delete_artifact(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> None:
        """Remove every version of the file; nothing happens if there is none."""
        scope = _scope(app_name, user_id, session_id, filename)
        try:
            await self.store.artifacts.delete(scope, filename)
        except NotFoundError:
            return
        except InvalidError as error:
            raise InputValidationError(str(error)) from error


def _check(app_name: str, user_id: str, session_id: str | None) -> None:
    artifact_util.validate_path_segment(app_name, "app_name")
    artifact_util.validate_path_segment(user_id, "user_id")
    if session_id is not None:
        artifact_util.validate_path_segment(session_id, "session_id")


def _scope(app_name: str, user_id: str, session_id: str | None, filename: str) -> ArtifactScope:
    """Whose the file is; names of files are checked by the store."""
    _check(app_name, user_id, session_id)
    if session_id is None or filename.startswith(_USER):
        return UserScope(app_name, user_id)
    return SessionKey(app_name, user_id, session_id)


def _payload(
    part: types.Part, app_name: str, user_id: str, session_id: str | None
) -> tuple[bytes, str]:
    if part.inline_data is not None:
        return part.inline_data.data or b"", part.inline_data.mime_type or _BYTES
    if part.text is not None:
        return part.text.encode("utf-8", "surrogatepass"), _TEXT
    if part.file_data is None:
        raise InputValidationError("Not supported artifact type.")
    if artifact_util.is_artifact_ref(part):
        _target(part, app_name, user_id, session_id)
    return b"", part.file_data.mime_type or _BYTES


def _target(part: types.Part, app_name: str, user_id: str, session_id: str | None) -> Any:
    """What a reference points to; it may not leave the user, nor the session."""
    uri = part.file_data.file_uri if part.file_data else None
    found = artifact_util.parse_artifact_uri(uri or "")
    if not found:
        raise InputValidationError(f"Invalid artifact reference URI: {uri}")
    artifact_util.validate_artifact_reference_scope(
        app_name=app_name, user_id=user_id, session_id=session_id, parsed_uri=found
    )
    return found


def _about(part: types.Part) -> dict[str, Any]:
    """What the bytes do not say of the part."""
    told: dict[str, Any] = part.model_dump(
        mode="json", exclude_none=True, exclude={"text": True, "inline_data": {"data"}}
    )
    return told


def _part(loaded: LoadedArtifact) -> types.Part:
    about = loaded.artifact.metadata.get(_KEY)
    if about is None:
        # Saved by somebody else, as bytes.
        blob = types.Blob(data=loaded.data, mime_type=loaded.artifact.mime_type)
        return types.Part(inline_data=blob)
    if "inline_data" in about:
        data = base64.urlsafe_b64encode(loaded.data).decode()
        about = {**about, "inline_data": {**about["inline_data"], "data": data}}
    elif "file_data" not in about:
        about = {**about, "text": loaded.data.decode("utf-8", "surrogatepass")}
    return types.Part.model_validate(about)


def _version(found: Artifact, scope: ArtifactScope, filename: str) -> ArtifactVersion:
    about = found.metadata.get(_KEY) or {}
    is_ref = "file_data" in about and about["file_data"].get("file_uri", "").startswith("artifact:")
    session = scope.id if isinstance(scope, SessionKey) else None
    uri = artifact_util.get_artifact_uri(scope.app, scope.user, filename, found.version, session)
    return ArtifactVersion(
        version=found.version,
        canonical_uri=uri.replace("artifact://", "perdure://", 1),
        custom_metadata=found.metadata.get("custom", {}),
        create_time=found.created_at.timestamp(),
        mime_type=None if is_ref else found.mime_type,
    )


__all__ = ["PerdureArtifactService"]
