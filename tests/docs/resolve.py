"""Finds what a dotted name of the documentation stands for."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin, get_type_hints

import perdure
from perdure.errors import MissingExtraError

NAME = re.compile(r"perdure(?P<path>(?:\.\w+)*)(?:\((?P<parameter>\w+)=\))?")


class UnresolvedNameError(LookupError):
    """The package has nothing of that name."""


def resolve(name: str) -> Any:
    """What ``perdure.Store.sessions.create`` or ``perdure.open(tenant=)`` stands for.

    A field or an attribute stands for its type, so that a path goes on through it.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise UnresolvedNameError(f"{name!r} is no dotted name of perdure")
    found: Any = perdure
    for part in match["path"].split(".")[1:]:
        found = _member(found, part)
    if match["parameter"] is None:
        return found
    return _parameter(found, match["parameter"])


def _member(owner: Any, name: str) -> Any:
    if isinstance(owner, ModuleType):
        return _module_member(owner, name)
    if inspect.isfunction(owner):
        # A method that makes a view stands for the view.
        returned = get_type_hints(owner)["return"]
        owner = get_origin(returned) or returned
    if not inspect.isclass(owner):
        raise UnresolvedNameError(f"{owner!r} has no {name!r}")
    hints = get_type_hints(owner)
    if name in hints:
        return get_origin(hints[name]) or hints[name]
    try:
        member = inspect.getattr_static(owner, name)
    except AttributeError:
        return _instance_member(owner, name)
    getter = _getter(member)
    if getter is None:
        return member
    returned = get_type_hints(getter)["return"]
    return get_origin(returned) or returned


def _instance_member(owner: type[Any], name: str) -> Any:
    """The type of what only the instances of a class have, found on one of them."""
    attributes = _example_attributes().get(owner.__name__, {})
    if name not in attributes:
        raise UnresolvedNameError(f"{owner.__qualname__} has no {name!r}")
    return type(attributes[name])


@cache
def _example_attributes() -> dict[str, dict[str, Any]]:
    with perdure.open_sync("memory:") as store:
        return {"Store": vars(store), "SessionHandle": vars(store.session("app", "user"))}


def _module_member(module: ModuleType, name: str) -> Any:
    if hasattr(module, name):
        return getattr(module, name)
    try:
        return importlib.import_module(f"{module.__name__}.{name}")
    except MissingExtraError:
        return _unimported(f"{module.__name__}.{name}")
    except ModuleNotFoundError:
        raise UnresolvedNameError(f"{module.__name__} has no {name!r}") from None


def _unimported(name: str) -> ModuleType:
    """An adapter whose framework is not here: what it offers, by the list in its source."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    [offered] = [
        ast.literal_eval(one.value)
        for one in tree.body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__all__"
    ]
    module = ModuleType(name)
    vars(module).update(dict.fromkeys(offered))
    return module


def _getter(member: Any) -> Any:
    if isinstance(member, property):
        return member.fget
    if isinstance(member, cached_property):
        return member.func
    return None


def _parameter(function: Any, name: str) -> inspect.Parameter:
    parameters = inspect.signature(inspect.unwrap(function)).parameters
    if name not in parameters:
        raise UnresolvedNameError(f"{function!r} takes no {name!r}, only {list(parameters)}")
    return parameters[name]
