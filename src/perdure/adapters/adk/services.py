"""Importing this registers the services: the one line of a ``services.py`` beside your agents."""

from __future__ import annotations

from perdure.adapters.adk.registry import register

register()

__all__: list[str] = []
