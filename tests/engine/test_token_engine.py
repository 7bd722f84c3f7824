# SPDX-License-Identifier: Apache-2.0
"""TensorRT-LLM's ending rules, apart from any engine."""

import pytest

from budgetforce.engine.base import Sampling
from budgetforce.engine.token_engine import EndDetector, ModelLimits, TokenCall, validate
from budgetforce.errors import InvalidRequest

LIMITS = ModelLimits(vocab_size=100, max_seq_len=50)


def call(ids=(1, 2, 3), **changes):
    return TokenCall(**{"input_ids": tuple(ids), "max_new_tokens": 5, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, [10, 11, 12, 13, 14]),
        ({"stop_words": ((12,),)}, [10, 11, 12]),  # a stop word is returned
        ({"end_id": 12}, [10, 11]),  # an end id is not
        ({"end_id": 10}, []),
        ({"stop_words": ((11, 12), (14,))}, [10, 11, 12]),
        ({"stop_words": ((3, 10),)}, [10]),  # it may begin inside the prompt
        ({"stop_words": ((2, 3),)}, [10, 11, 12, 13, 14]),  # but not end there
        ({"stop_words": ((14,),)}, [10, 11, 12, 13, 14]),  # as the last id that is allowed
        ({"end_id": 12, "stop_words": ((12,),)}, [10, 11]),
    ],
)
@pytest.mark.parametrize("group", [1, 2, 3, 20])
def test_a_call_ends_where_tensorrt_llm_would_end_it(changes, said, group):
    """However many ids a library returns at once; ids beyond the end do not count."""
    detector, kept, is_over = EndDetector(call(**changes)), [], False
    for start in range(10, 30, group):
        new, is_over = detector.take(range(start, start + group))
        kept += new
        if is_over:
            break
    assert is_over
    assert kept == said
    assert (detector.num_sampled, detector.context_len) == (len(said), 3 + len(said))
    assert detector.computed_ids() == (1, 2, 3, *said)[:-1]


@pytest.mark.parametrize(
    ("changes", "mask"),
    [
        ({"end_id": 7, "min_tokens": 2}, ({7}, 2)),
        ({"end_id": 7, "min_tokens": 9}, ({7}, 5)),
        ({"min_tokens": 2}, (set(), 0)),  # keeps off the end id alone: without one it asks for nothing
        ({"sampling": Sampling(bad_words=((8,), (9,)))}, ({8, 9}, 5)),
        ({}, (set(), 0)),
    ],
)
def test_the_mask_for_a_library_with_a_single_mask(changes, mask):
    assert (call(**changes).masked_ids, call(**changes).num_masked_steps) == mask


@pytest.mark.parametrize(
    ("sampling", "is_sampled"),
    [
        ({}, False),
        ({"temperature": 0.7}, False),
        ({"top_k": 4}, True),
        ({"top_p": 1.0}, True),
        ({"top_k": 1, "top_p": 0.5}, False),
        ({"temperature": 0, "top_p": 0.5}, False),
    ],
)
def test_a_call_is_greedy_unless_top_k_or_top_p_turn_sampling_on(sampling, is_sampled):
    assert call(sampling=Sampling(**sampling)).is_sampled == is_sampled


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"input_ids": ()}, "input_ids"),
        ({"input_ids": tuple(range(50))}, "input_ids"),
        ({"input_ids": (1, 100)}, "input_ids"),
        ({"input_ids": (-1,)}, "input_ids"),
        ({"max_new_tokens": 0}, "request_output_len"),
        ({"max_new_tokens": 48}, "request_output_len"),
        ({"sampling": Sampling(bad_words=((1, 2),))}, "bad_words_list"),
    ],
)
def test_values_that_no_engine_supports_are_refused_by_name(changes, field):
    with pytest.raises(InvalidRequest) as refused:
        validate(call(**changes), LIMITS)
    assert field == refused.value.field
