"""Conversations of elsewhere, brought into a store.

An importer is two things: pure functions that read somebody's files into `Conversation`s, and
`load` or `load_sync`, which store them through the public API. Importing again adds what is
new and nothing twice.
"""

from perdure.importers.chat import read_chat
from perdure.importers.conversation import Conversation, Message, Remark, Skipped
from perdure.importers.loading import Progress, load, load_sync
from perdure.importers.picoclaw import read_picoclaw
from perdure.importers.report import Changed, ImportReport

__all__ = [
    "Changed",
    "Conversation",
    "ImportReport",
    "Message",
    "Progress",
    "Remark",
    "Skipped",
    "load",
    "load_sync",
    "read_chat",
    "read_picoclaw",
]
