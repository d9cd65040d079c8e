"""What an adapter says where its framework is not installed."""

from __future__ import annotations

from perdure.errors import MissingExtraError


def missing(adapter: str, extra: str, error: ImportError) -> MissingExtraError:
    """The error that names the extra which brings what could not be imported."""
    return MissingExtraError(f"{adapter} needs {error.name}: pip install 'perdure[{extra}]'")


__all__ = ["missing"]
