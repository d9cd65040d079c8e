"""Windows are numbers: what is shown, what fell, and what is stored of it."""

from __future__ import annotations

import pytest

pytest.importorskip("trpc_agent_sdk.sessions", reason="needs trpc-agent-py: see .ci/adapters")

from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.trpc.window import Window, window_for, window_of

SEQS = list(range(1, 13))


@given(active=st.lists(st.sampled_from(SEQS), unique=True), data=st.data())
def test_any_choice_in_any_order_comes_back_and_new_events_follow(
    active: list[int], data: st.DataObject
) -> None:
    rest = [seq for seq in SEQS if seq not in active]
    historical = data.draw(st.lists(st.sampled_from(rest), unique=True)) if rest else []

    window = window_of(window_for(SEQS, active, historical).to_json())

    assert window.active(SEQS) == active
    assert list(window.historical) == historical
    assert window.active([*SEQS, 13, 14]) == [*active, 13, 14]


def test_a_summary_before_the_rest_takes_few_numbers() -> None:
    window = window_for(range(1, 1_002), [1_001, *range(991, 1_001)], range(1, 991))

    assert window.to_json() == {"front": [[1001, 1001]], "after": 990, "historical": [[1, 990]]}


@pytest.mark.parametrize("told", [None, 7, "x"])
def test_without_a_window_all_is_seen(told: object) -> None:
    assert window_of(told) == Window()
    assert Window().active(SEQS) == SEQS
