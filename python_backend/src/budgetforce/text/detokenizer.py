# SPDX-License-Identifier: Apache-2.0
"""Ids to text, a piece at a time, without ever splitting or inventing a character.

Works on bytes: every id of a byte-level BPE vocabulary stands for a fixed byte string, so
the text of a stream is the UTF-8 decoding of the joined bytes, whatever the cuts. The cost
of an id is the length of its own bytes; nothing is decoded twice.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence


class StreamDecoder:
    """Turns one stream of ids into text; the pieces joined equal the decoding of all ids.

    Bytes that are no UTF-8 become U+FFFD, as in the tokenizers library. An id that the
    vocabulary does not hold has no bytes: it adds nothing and breaks nothing.
    """

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, ids: Iterable[int]) -> str:
        """The text that ``ids`` complete; an unfinished character waits for its other bytes."""
        return self._decoder.decode(b"".join(self._bytes_of(token_id) for token_id in ids))

    def flush(self) -> str:
        """What an unfinished character at the end of the stream becomes; the decoder starts anew."""
        return self._decoder.decode(b"", final=True)

    def _bytes_of(self, token_id: int) -> bytes:
        return self._token_bytes[token_id] if 0 <= token_id < len(self._token_bytes) else b""
