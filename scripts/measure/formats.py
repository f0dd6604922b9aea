"""What each format costs: bytes and time for every second of speech.

    scripts/bench formats speech.wav

takes a reply of the server's own (WAV, 24 kHz), a sentence or some. Each format is encoded five
times, 250 ms at a write, and the fastest run counts.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import soundfile
from machine import cpu_model

from synth.audio.encode import open_encoder
from synth.audio.formats import FORMATS, Format
from synth.engine import SAMPLE_RATE_HZ, Pcm

_RUNS = 5
_WRITE_SAMPLES = SAMPLE_RATE_HZ // 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench formats", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("speech", type=Path, help="a WAV of the server's, at 24 kHz")
    pcm, rate_hz = soundfile.read(parser.parse_args().speech, dtype="int16")
    if rate_hz != SAMPLE_RATE_HZ or pcm.ndim != 1:
        parser.error(f"the file must be mono at {SAMPLE_RATE_HZ} Hz")
    audio_s = len(pcm) / SAMPLE_RATE_HZ
    print(f"{audio_s:.1f} s of speech on {cpu_model()}\n")
    print("| format | bytes a second | ms a second |\n|---|---|---|")
    for name, format in FORMATS.items():
        runs = [_encoded(format, pcm) for _ in range(_RUNS)]
        size_bytes, took_s = runs[0][0], min(took_s for _, took_s in runs)
        print(f"| {name} | {size_bytes / audio_s:,.0f} | {1000 * took_s / audio_s:.1f} |")


def _encoded(format: Format, pcm: Pcm) -> tuple[int, float]:
    """How many bytes, and how long it took in seconds."""
    begun_s = time.perf_counter()
    encoder = open_encoder(format)
    for part in np.split(pcm, range(_WRITE_SAMPLES, len(pcm), _WRITE_SAMPLES)):
        encoder.write(part)
    whole = encoder.finish().whole
    return len(whole), time.perf_counter() - begun_s


if __name__ == "__main__":
    main()
