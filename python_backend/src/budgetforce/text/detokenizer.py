# SPDX-License-Identifier: Apache-2.0
"""Decodes a stream of ids to text without splitting or inventing a character.

The decoder works on bytes: every id of a byte-level BPE vocabulary stands for a fixed byte string,
so the text of a stream is the UTF-8 decoding of the joined bytes, however the stream is cut. An id
costs the length of its own bytes; nothing is decoded twice.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence


class StreamDecoder:
    """Decodes a stream of ids; the joined pieces equal the decoding of all ids.

    Bytes that are not UTF-8 become U+FFFD, as in the tokenizers library. An id outside the
    vocabulary has no bytes and adds nothing.
    """

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, ids: Iterable[int]) -> str:
        """Return the text that ``ids`` complete; an unfinished character waits for its other bytes."""
        table = self._token_bytes
        return self._decoder.decode(b"".join([table[token_id] if 0 <= token_id < len(table) else b"" for token_id in ids]))

    def flush(self) -> str:
        """End the stream: return the text of an unfinished character, and reset the decoder."""
        return self._decoder.decode(b"", final=True)
