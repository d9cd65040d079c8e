"""Filters: what matches, by type, by order, at a missing key, below other keys."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.errors import InvalidError
from perdure.features.filters import condition_of, equal

BIG = 2**53


def matches(value: Any, given: Any) -> bool:
    condition = condition_of(given, 10_000)
    return condition is None or condition(value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True), (0, -0.0, True), (BIG, float(BIG), True), (BIG + 1, float(BIG), False),
        (2**70, 2.0**70, True), (2**70 + 1, 2.0**70, False), (0.1, 0.1, True), (1, True, False),
        (0, False, False), (True, True, True), (None, None, True), (None, 0, False),
        ("", None, False), ("1", 1, False), ("a", "A", False), ("\u00e9", "e\u0301", False),
        ([], {}, False), ([1, 2], [1.0, 2], True), ([1, 2], [2, 1], False), ([1], [True], False),
        ([1], [1, 2], False), ({"a": 1, "b": 2}, {"b": 2.0, "a": 1}, True),
        ({"a": 1}, {"a": True}, False), ({"a": 1}, {"a": 1, "b": None}, False),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1.0}]}, True),
    ],
)  # fmt: skip
def test_equal_is_equal_json(one: Any, other: Any, same: bool) -> None:
    assert equal(one, other) is equal(other, one) is same
    assert matches({"k": one}, {"k": {"$eq": other}}) is same
    assert matches({"k": one}, {"k": {"$ne": other}}) is not same
    assert matches({"k": one}, {"k": {"$in": ["x y", other]}}) is same


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (9, 10), (-10, -9), (9, 9.5), (-0.5, 0), (BIG, BIG + 1), (float(BIG), BIG + 1),
        (2**70, 2**70 + 1), (1e308, 10**400), ("", "a"), ("A", "a"), ("a", "aa"), ("10", "9"),
        ("Z", "a"), ("z", "é"), ("\uffff", "\U00010000"),
    ],
)  # fmt: skip
def test_numbers_are_ordered_by_value_and_texts_bytewise(low: Any, high: Any) -> None:
    truths = {
        (low, high): {"$lt", "$lte"},
        (high, low): {"$gt", "$gte"},
        (low, low): {"$lte", "$gte"},
    }
    for (found, wanted), true in truths.items():
        for operator in ("$lt", "$lte", "$gt", "$gte"):
            assert matches({"k": found}, {"k": {operator: wanted}}) is (operator in true)


@pytest.mark.parametrize("value", [{}, {"other": 1}, [], "k", 7, None, b"k"])
def test_a_missing_key_matches_only_ne_and_exists_false(value: Any) -> None:
    for condition in (None, 1, {"$eq": None}, {"$gt": 0}, {"$lt": "x"}, {"$in": [None, 1]},
                      {"$exists": True}):  # fmt: skip
        assert not matches(value, {"k": condition})
    assert matches(value, {"k": {"$ne": 1}})
    assert matches(value, {"k": {"$ne": None}})
    assert matches(value, {"k": {"$exists": False}})


@pytest.mark.parametrize("found", [None, True, "9", [], {}, [9]])
def test_another_type_matches_only_ne(found: Any) -> None:
    value = {"k": found}

    for operator in ("$gt", "$gte", "$lt", "$lte", "$eq"):
        assert not matches(value, {"k": {operator: 9}})
    assert not matches(value, {"k": {"$in": [9, 1]}})
    assert matches(value, {"k": {"$ne": 9}})
    assert matches(value, {"k": {"$exists": True}})


def test_null_is_there_and_is_not_missing() -> None:
    assert matches({"k": None}, {"k": None})
    assert matches({"k": None}, {"k": {"$exists": True}})
    assert not matches({"k": None}, {"k": {"$exists": False}})


def test_an_object_without_operators_is_compared_whole() -> None:
    assert matches({"d": {"x": 9, "y": 1}}, {"d": {"y": 1, "x": 9.0}})
    assert not matches({"d": {"x": 9, "y": 1}}, {"d": {"x": 9}})
    assert matches({"d": {}}, {"d": {}})
    assert not matches({"d": {"x": 1}}, {"d": {}})
    assert matches({"d": {"$x": 1}}, {"d": {"$eq": {"$x": 1}}})


def test_operators_are_reached_through_objects() -> None:
    value = {"a": {"b": {"c": 5, "d": "x"}, "e": 1}}

    assert matches(value, {"a": {"b": {"c": {"$gt": 4}}}})
    assert matches(value, {"a": {"b": {"c": {"$gt": 4}, "d": "x"}, "e": 1}})
    assert not matches(value, {"a": {"b": {"c": {"$gt": 4}, "d": "y"}}})
    assert not matches(value, {"a": {"b": {"c": {"$gt": 5}}}})
    assert matches(value, {"a": {"z": {"c": {"$exists": False}}}})
    assert not matches({"a": [{"b": 1}]}, {"a": {"b": {"$eq": 1}}})


def test_a_key_is_taken_as_it_is() -> None:
    assert matches({"a.b": 1, "": 2, "s p'\"": 3}, {"a.b": 1, "": 2, "s p'\"": 3})
    assert not matches({"a": {"b": 1}}, {"a.b": 1})


def test_several_keys_and_operators_must_all_hold() -> None:
    assert matches({"a": 5, "b": 1}, {"a": {"$gt": 4, "$lt": 6, "$ne": 4.5}, "b": 1})
    assert not matches({"a": 5, "b": 1}, {"a": {"$gt": 4, "$lt": 6}, "b": 2})
    assert not matches({"a": 5}, {"a": {"$gt": 4, "$lt": 5}})


def test_what_the_caller_changes_later_changes_nothing() -> None:
    given = {"k": {"$in": [1]}}
    condition = condition_of(given, 10_000)
    given["k"]["$in"].append(2)

    assert condition is not None
    assert not condition({"k": 2})


@pytest.mark.parametrize("given", [{"k": {"$foo": 1}}, {"k": {"a": {"$foo": 1}}}, {"$foo": 1}])
def test_an_unknown_operator_is_named_with_those_there_are(given: Any) -> None:
    with pytest.raises(InvalidError, match=r"'\$foo'.*\$exists"):
        condition_of(given, 10_000)


def test_a_filter_of_nothing_asks_nothing() -> None:
    assert condition_of(None, 10_000) is None
    assert condition_of({}, 10_000) is None
