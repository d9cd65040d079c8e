"""Tools by which a model itself looks into a user's memories and changes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from perdure.errors import ConflictError, InvalidError, NotFoundError
from perdure.features.memory_changes import wanted
from perdure.features.memory_rows import owner_of
from perdure.features.recalling import hits, question
from perdure.operation import Feature, Flow, M, flow, run
from perdure.records import JSON, Memory
from perdure.values import check_text, parse

if TYPE_CHECKING:
    from perdure.features.memory import Memories

_MOST = 50


class Tool(NamedTuple):
    """What a model is told of a tool; ``parameters`` is a JSON schema."""

    name: str
    description: str
    parameters: dict[str, JSON]


def _tool(name: str, description: str, *required: str, **properties: JSON) -> Tool:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return Tool(name, description, schema)


_ID = {"type": "string", "description": "The id of the memory, as another tool gave it."}
_CONTENT = {"type": "string", "description": "One fact, in a sentence that stands by itself."}
_TOPICS = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Short words to find it by, such as food or work.",
}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": _MOST, "description": "At most so many."}

_TOOLS: Mapping[str, Tool] = MappingProxyType({
    tool.name: tool
    for tool in (
        _tool(
            "memory_search",
            "Look for what is known about the user. Give the words it is about; any of them "
            "may match.",
            "query",
            query={"type": "string", "description": "Words to look for."},
            limit=_LIMIT,
            topics=_TOPICS,
        ),
        _tool(
            "memory_add",
            "Remember a fact about the user for later conversations. Adding what is known "
            "already changes nothing but its topics.",
            "content",
            content=_CONTENT,
            topics=_TOPICS,
        ),
        _tool(
            "memory_update",
            "Correct a memory that turned out to be wrong or incomplete.",
            "id",
            id=_ID,
            content=_CONTENT,
            topics=_TOPICS,
        ),
        _tool("memory_delete", "Forget a memory for good.", "id", id=_ID),
        _tool(
            "memory_list",
            "The latest memories about the user, with their ids; with topics those that have "
            "all of these.",
            limit=_LIMIT,
            topics=_TOPICS,
        ),
    )
})  # fmt: skip


class MemoryTools(Feature[M]):
    """What `store.memory.tools` gives: definitions for a model, and what carries out its calls.

    App, user and agent are those it was made for: no argument of a call can change them.
    """

    name = "memory"

    def __init__(self, memory: Memories[M], app: str, user: str, agent: str) -> None:
        super().__init__(memory._runner, memory._settings)
        self._memory = memory
        self._app = app
        self._user = user
        self._agent = agent

    @property
    def openai(self) -> list[dict[str, JSON]]:
        """The definitions as OpenAI's Chat Completions takes them."""
        return [{"type": "function", "function": tool._asdict()} for tool in _TOOLS.values()]

    @property
    def anthropic(self) -> list[dict[str, JSON]]:
        """The definitions as Anthropic's Messages takes them."""
        return [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in _TOOLS.values()
        ]

    @property
    def handlers(self) -> dict[str, Callable[[Mapping[str, JSON] | str], Any]]:
        """By the name of each tool, a function of its arguments that gives what `call` gives."""
        call: Callable[..., Any] = cast("Any", self).call
        return {name: partial(call, name) for name in _TOOLS}

    @flow
    def call(self, name: str, arguments: Mapping[str, JSON] | str) -> Flow[dict[str, JSON]]:
        """Carry out a call of a model, and what to answer it.

        ``arguments`` is a mapping, or JSON text of one as OpenAI sends it. What the model did
        wrong (an unknown tool, bad arguments, an id that is not there) comes back as
        ``{"error": …}``, for the model to read; all else is raised.
        """
        try:
            given = _checked(name, arguments)
            return (yield from self._call(name, given))
        except (InvalidError, NotFoundError, ConflictError) as error:
            return {"error": str(error)}

    def _call(self, name: str, given: dict[str, Any]) -> Flow[dict[str, JSON]]:
        memory, kind = self._memory, type(self._memory)
        whose = self._app, self._user
        if name == "memory_search":
            return {"memories": (yield from self._search(**given))}
        if name == "memory_add":
            added = yield from run(kind.add.of(memory, *whose, **given, agent=self._agent))
            return {"memory": _told(added)}
        if name == "memory_update":
            changed = yield from run(kind.update.of(memory, *whose, **given))
            return {"memory": _told(changed)}
        if name == "memory_delete":
            return {"deleted": (yield from run(kind.delete.of(memory, *whose, **given)))}
        page = yield from run(kind.read.of(memory, *whose, **{"limit": 10, **given}))
        return {"memories": [_told(one) for one in page]}

    def _search(
        self, query: str, limit: int = 10, topics: Sequence[str] = ()
    ) -> Flow[list[dict[str, JSON]]]:
        settings = self._settings
        owner = owner_of(settings, self._app, self._user)
        which = wanted(settings, owner, None, topics, None, None)
        asked = question(settings, query, which, limit)
        # A model that talks needs an answer, also while the one that embeds is down.
        found = yield from hits(owner, asked, settings, "words")
        return [{**_told(hit.memory), "score": round(hit.score, 3)} for hit in found]


def _told(memory: Memory) -> dict[str, JSON]:
    """What a model is shown of a memory."""
    return {
        "id": memory.id,
        "content": memory.content,
        "topics": list(memory.topics),
        "updated_at": memory.updated_at.isoformat(),
    }


def _checked(name: str, arguments: Mapping[str, JSON] | str) -> dict[str, Any]:
    """The arguments, if they are as the tool's schema says; `InvalidError`."""
    tool = _TOOLS.get(name)
    if tool is None:
        raise InvalidError(f"there is no tool {name!r}, only {list(_TOOLS)}", "name")
    given = parse(arguments or "{}") if isinstance(arguments, str) else arguments
    if not isinstance(given, Mapping):
        raise InvalidError(f"the arguments of {name} are an object, not {given!r}", "arguments")
    properties = tool.parameters["properties"]
    wrong = [key for key in given if key not in properties]
    lacking = [key for key in tool.parameters["required"] if key not in given]
    if wrong or lacking:
        message = f"{name} takes {list(properties)}: unknown are {wrong}, missing are {lacking}"
        raise InvalidError(message, "arguments")
    for key, value in given.items():
        _check_type(key, value, properties[key])
    return dict(given)


def _check_type(key: str, value: JSON, schema: Mapping[str, JSON]) -> None:
    kind = schema["type"]
    if kind == "string":
        check_text(value, key, 2**20, blank=False)
    elif kind == "integer":
        if type(value) is not int or not 1 <= value <= _MOST:
            raise InvalidError(f"{key} is a whole number from 1 to {_MOST}, not {value!r}", key)
    elif not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidError(f"{key} is a list of texts, not {value!r}", key)
