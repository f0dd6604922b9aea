"""Put clips together: how long a speaker pauses between two of them."""

from __future__ import annotations

import numpy as np

from synth.engine import SAMPLE_RATE_HZ, Pcm

JOIN_VERSION = "1"
"""Part of the key of what is kept: raise it when the pauses change."""

_PAUSE_S = {
    **dict.fromkeys(".!?…。！？।", 0.30),
    **dict.fromkeys(":;：；", 0.20),
    **dict.fromkeys(",—–、，", 0.10),
}
"""By the mark that a segment ends in, at the voice's own pace; on top of the clips' own margins."""

_PAUSE_WITHOUT_MARK_S = 0.15
"""After a heading or an item of a list, and inside a sentence too long to be said in one piece."""

_CLOSING = "\"'”’)]}» "


def pause_s(text: str, speed: float) -> float:
    """The silence between the clip of `text` and the one that follows it, in seconds."""
    mark = text.rstrip(_CLOSING)[-1:]
    return _PAUSE_S.get(mark, _PAUSE_WITHOUT_MARK_S) / speed


def silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), dtype=np.int16)
