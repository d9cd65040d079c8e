from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure.formats import cut_point, window_start
from tests.formats.samples import unhurried

Item = tuple[str, str, tuple[str, ...], tuple[str, ...]]

USER: Item = ("message", "user", (), ())
SAID: Item = ("message", "assistant", (), ())
SYSTEM: Item = ("message", "system", (), ())


def calling(*ids: str) -> Item:
    return ("tool_call", "assistant", ids, ())


def answering(*ids: str) -> Item:
    return ("tool_result", "tool", (), ids)


TURN = [USER, calling("a"), answering("a"), SAID]

some_ids = st.lists(st.sampled_from("abcd"), max_size=2).map(tuple)
items = st.lists(
    st.one_of(
        st.sampled_from([USER, SAID, SYSTEM]),
        some_ids.map(lambda ids: calling(*ids)),
        some_ids.map(lambda ids: answering(*ids)),
        st.tuples(st.just("message"), st.just("user"), some_ids, some_ids),
    ),
    max_size=12,
)


def splits(history: list[Item], index: int) -> bool:
    """Whether some result at or after the index belongs to a call before it, slowly."""
    for answer in range(index, len(history)):
        for one in history[answer][3]:
            asked = [i for i in range(answer) if one in history[i][2]]
            if asked and asked[-1] < index:
                return True
    return False


def test_a_window_widens_back_to_the_users_message() -> None:
    assert window_start([*TURN, *TURN], 1) == 4
    assert window_start([*TURN, *TURN], 4) == 4
    assert window_start([*TURN, *TURN], 5) == 0


def test_a_window_of_nothing_is_empty_and_a_large_one_is_all() -> None:
    assert window_start(TURN, 0) == len(TURN)
    assert window_start(TURN, 100) == 0
    assert window_start([], 5) == 0


def test_a_window_without_a_users_message_starts_at_the_beginning() -> None:
    assert window_start([SAID, SYSTEM, SAID, SAID], 1) == 0


def test_a_window_does_not_start_at_words_between_a_call_and_its_result() -> None:
    history = [USER, calling("a"), USER, answering("a"), SAID]

    assert window_start(history, 3) == 0


def test_a_tool_result_of_the_users_role_starts_no_window() -> None:
    history = [USER, calling("a"), ("tool_result", "user", (), ("a",)), SAID]

    assert window_start(history, 2) == 0


def test_a_cut_moves_back_before_the_call() -> None:
    assert [cut_point(TURN, index) for index in range(6)] == [0, 1, 1, 3, 4, 4]
    assert cut_point(TURN, -1) == 0


def test_parallel_calls_stay_with_all_their_results() -> None:
    history = [USER, calling("a", "b"), answering("b"), answering("a"), SAID]

    assert cut_point(history, 3) == 1


def test_a_call_without_a_result_holds_nothing_back() -> None:
    assert cut_point([USER, calling("a"), USER, SAID], 2) == 2


def test_a_result_without_its_call_holds_nothing_back() -> None:
    assert cut_point([answering("a"), USER, answering("b"), USER], 3) == 3


def test_an_id_used_again_belongs_to_the_later_call() -> None:
    assert cut_point([*TURN, *TURN], 4) == 4


@unhurried
@given(history=items, keep_from=st.integers(-1, 14))
def test_a_cut_is_the_greatest_that_splits_nothing(history: list[Item], keep_from: int) -> None:
    allowed = [index for index in range(len(history) + 1) if not splits(history, index)]

    expected = max([index for index in allowed if index <= keep_from], default=0)
    assert cut_point(history, keep_from) == expected


@unhurried
@given(history=items, last=st.integers(1, 14))
def test_a_window_is_the_smallest_that_holds_enough(history: list[Item], last: int) -> None:
    starts = [
        index
        for index, item in enumerate(history)
        if item[:2] == ("message", "user") and not splits(history, index)
    ]

    expected = max([index for index in starts if index <= len(history) - last], default=0)
    assert window_start(history, last) == expected
    assert not splits(history, window_start(history, last))


def test_a_hundred_thousand_events_are_cut_in_linear_time() -> None:
    history = TURN * 25_000

    assert cut_point(history, 50_002) == 50_001
    assert window_start([SAID] * 100_000, 1) == 0
