# SPDX-License-Identifier: Apache-2.0
"""Many streams at the same time: all end, none is mixed with another, none loses a word; a large prompt passes between them."""

from concurrent.futures import ThreadPoolExecutor

from client.gateway.calls import texts

NUM_STREAMS = 256  # the gateway's own limit for callers without keys


def words_of(number):
    return "".join(f" {number}-{word}" for word in range(6))


def test_every_stream_is_whole_and_none_is_mixed(gateway, server):
    for number in range(NUM_STREAMS):
        server.says(to=f"stream {number}.", thinking=words_of(number), answer=f" answer {number}", token_delay_s=0.02)
    with ThreadPoolExecutor(NUM_STREAMS) as pool:
        streams = pool.map(lambda number: gateway.chat_chunks(f"stream {number}.", num_ignore=0), range(NUM_STREAMS))
        large = pool.submit(gateway.chat, "long " * 200_000)
        for number, chunks in enumerate(streams):
            assert texts(chunks) == (words_of(number), f" answer {number}")
            assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
        assert large.result().status in (200, 429)  # it may be the 257th
    assert 's1_gateway_open_requests{api="chat"} 0.0' in gateway.get("/metrics").text
