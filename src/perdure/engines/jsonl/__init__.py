"""JSONL: plain files for people, a journal that nothing is lost from, and a derived index."""

from perdure.engines.jsonl.engine import JsonlEngine

__all__ = ["JsonlEngine"]
