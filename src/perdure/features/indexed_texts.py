"""What the full-text index holds of approvals, clarifications and tasks: their texts.

An edited approval is found by the arguments that it was edited to. Of JSON the keys and strings
count. The rows are locked before the index is changed, so that it says what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from perdure.features.segmentation import TEXT_CHARACTERS
from perdure.values import decode

#: What the full-text index knows them as.
APPROVALS = "approvals"
CLARIFICATIONS = "clarifications"
TASKS = "tasks"
_PART = 32


def block_of(id: str) -> str:
    """The block that a record is indexed in: what its id, ``kind_part…``, ends with.

    That is as new as an id drawn for this, and no other block begins with it.
    """
    return id.partition("_")[2][_PART:].lstrip("_")


def approval_text(
    question: str, tool_name: str, feedback: str, args: str, edited_args: str | None, payload: str
) -> str:
    """The text of an approval; the last three are stored JSON."""
    counting = args if edited_args is None else edited_args
    return _joined(question, tool_name, feedback, *_inside(counting), *_inside(payload))


def clarification_text(question: str, context: str, options: str, answer: str | None) -> str:
    """The text of a clarification; ``options`` is stored JSON."""
    return _joined(question, answer or "", context, *_inside(options))


def task_text(name: str, action: str) -> str:
    """The text of a task; ``action`` is stored JSON."""
    return _joined(name, *_inside(action))


#: Kinds whose statement in search.sql ends with what makes their text.
TEXT_OF: Mapping[str, Callable[..., str]] = {
    APPROVALS: approval_text,
    CLARIFICATIONS: clarification_text,
    TASKS: task_text,
}


def _joined(*texts: str) -> str:
    return "\n".join(text for text in texts if text)


def _inside(stored: str) -> Iterator[str]:
    """The keys and strings of JSON in their order, as far as texts are indexed."""
    waiting = [decode(stored, "what is to be searched")]
    left = TEXT_CHARACTERS
    while waiting and left > 0:
        value = waiting.pop()
        if isinstance(value, str):
            left -= len(value)
            yield value
        elif isinstance(value, dict):
            waiting += [part for item in reversed(value.items()) for part in reversed(item)]
        elif isinstance(value, list):
            waiting += reversed(value)
