"""Kokoro-82M: segments to clips, on the GPU where there is one and on the CPU otherwise.

Imported by engine processes only: it brings torch.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from kokoro import KModel, KPipeline
from misaki.token import MToken
from torch.nn.utils import remove_weight_norm

from synth.audio.check import Samples, check_length, check_signal, to_pcm
from synth.audio.level import check_level, level
from synth.audio.trim import trim
from synth.carrier import CARRIERS, find_cut, is_very_short
from synth.engine import SAMPLE_RATE_HZ, BadAudio, CannotSay, Clip, EngineError, Segment, Word
from synth.text.phonemes import Phonemizer, Utterance
from synth.voices import Blend
from synth.weights import Weights
from synth.weights.sources import CONFIG_FILE, MODEL_FILE, REPOSITORY, voice_file

_WARM_UP_TEXT = "Ready."


class Kokoro:
    """The model, its voices and its G2P, loaded. Blocking; not thread-safe."""

    def __init__(self, weights: Weights, device: str = "auto", threads: int = 0) -> None:
        """`device` is `auto`, `cpu` or `cuda`; `threads` 0 leaves the number to torch.

        Raises:
            EngineError: `cuda` was asked for and there is none.
        """
        if threads:
            torch.set_num_threads(threads)
        self.device = _resolve(device)
        self._weights = weights
        config = json.loads((weights.folder / CONFIG_FILE).read_text(encoding="utf-8"))
        model = KModel(REPOSITORY, config=config, model=str(weights.folder / MODEL_FILE))
        self._model = _folded(model).to(self.device).eval()
        self._phonemize = Phonemizer(config["vocab"])
        self._pack = lru_cache(maxsize=64)(self._load_pack)
        # The first pass through anything is slow; nobody's call should be the one to pay.
        english = {name[0]: name for name in weights.voices if name[0] in "ab"}
        for language, voice in english.items():
            blend = Blend(((voice, 1),))
            self.synthesize(Segment(_WARM_UP_TEXT, blend, language, speed=1.0, seed=0))

    def synthesize(
        self,
        segment: Segment,
        ahead: Sequence[Segment] = (),
        alive: Callable[[], None] = lambda: None,
    ) -> Clip:
        """See `synth.engine.Engine.synthesize`. The same segment gives the same samples.

        `alive` is called before each pass through the model: a segment takes more than one where
        its text, such as a long number, needs more phonemes than the model takes at a time.
        """
        utterances = self._phonemize(segment.text, segment.language)
        for later in ahead:
            self._phonemize(later.text, later.language)
        carried = self._carried(utterances, segment)
        if carried is not None:
            alive()
            torch.manual_seed(segment.seed)
            clip = self._cut_out(*carried, utterances[0], segment)
            if clip is not None:
                return clip
        torch.manual_seed(segment.seed)
        clips = []
        for utterance in utterances:
            alive()
            clips.append(self._utter(utterance, segment))
        if len(clips) == 1:
            return clips[0]
        return Clip(np.concatenate([clip.pcm for clip in clips]))

    def why_not(self, segment: Segment) -> str | None:
        """Why the segment's text cannot be said; None: it can."""
        try:
            self._phonemize(segment.text, segment.language)
        except CannotSay as error:
            return str(error)
        return None

    def _utter(self, utterance: Utterance, segment: Segment) -> Clip:
        pack = self._pack(segment.blend)
        output = KPipeline.infer(self._model, utterance.phonemes, pack, segment.speed)
        tokens = _timed(utterance, output.pred_dur)
        return _finished(output.audio.numpy(), 0, tokens, utterance, segment.speed)

    def _carried(
        self, utterances: Sequence[Utterance], segment: Segment
    ) -> tuple[Utterance, int] | None:
        """A very short phrase behind its carrier, and how many tokens are the carrier's. None where
        it is better said alone, or would be pronounced otherwise."""
        carrier = CARRIERS.get(segment.language)
        if carrier is None or len(utterances) > 1 or not is_very_short(utterances[0].phonemes):
            return None
        (before,) = self._phonemize(carrier, segment.language)
        whole = self._phonemize(f"{carrier} {segment.text}", segment.language)
        if len(whole) > 1 or not whole[0].phonemes.endswith(utterances[0].phonemes):
            return None
        return whole[0], len(before.tokens)

    def _cut_out(
        self, carried: Utterance, carrier_tokens: int, phrase: Utterance, segment: Segment
    ) -> Clip | None:
        """What is said behind the carrier; None where it cannot be told apart from it."""
        pack = self._pack(segment.blend)
        output = KPipeline.infer(self._model, carried.phonemes, pack, segment.speed)
        samples: Samples = output.audio.numpy()
        tokens = _timed(carried, output.pred_dur)
        before = [token for token in tokens[:carrier_tokens] if _is_word(token)]
        after = [token for token in tokens[carrier_tokens:] if _is_word(token)]
        if not (before and after):
            return None
        cut = find_cut(samples, before[-1].end_ts, after[0].start_ts, segment.speed)
        if cut is None:
            return None
        try:
            return _finished(samples, cut, tokens[carrier_tokens:], phrase, segment.speed)
        except BadAudio:
            return None

    def _load_pack(self, blend: Blend) -> torch.Tensor:
        """The blend's style vectors, one for each number of phonemes: shape (510, 1, 256)."""
        packs = [share * self._load_voice(name) for name, share in blend.shares()]
        return torch.stack(packs).sum(dim=0).to(self.device)

    def _load_voice(self, name: str) -> torch.Tensor:
        """Verified as it is read: clips are kept under the digest that it had at the start."""
        path = self._weights.folder / voice_file(name)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self._weights.voice_sha256(name):
            raise EngineError(f"{path} has changed since the engine was started. Start it again.")
        pack: torch.Tensor = torch.load(io.BytesIO(content), weights_only=True)
        return pack


def _resolve(device: str) -> str:
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise EngineError(
            "device is 'cuda', but torch finds no usable GPU. "
            "Set engine.device to 'auto' or 'cpu', or see 'Using a GPU' in the README."
        )
    return "cuda" if available and device != "cpu" else "cpu"


def _folded(model: KModel) -> KModel:
    """Multiply weight norms out once, instead of at every pass."""
    for module in model.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
    return model


def _finished(
    samples: Samples, cut: int, tokens: Sequence[MToken], said: Utterance, speed: float
) -> Clip:
    """The clip of what the model made from the sample `cut` on. Raises BadAudio: see
    `synth.audio.check`."""
    samples = samples[cut:]
    check_signal(samples)
    trimmed = trim(samples, speed)
    duration_s = len(trimmed.samples) / SAMPLE_RATE_HZ
    check_length(duration_s, said.phonemes, speed)
    levelled = level(trimmed.samples)
    check_level(levelled)
    words = _words(tokens, cut / SAMPLE_RATE_HZ + trimmed.start_s, duration_s)
    return Clip(to_pcm(levelled), words)


def _timed(utterance: Utterance, frames: torch.Tensor) -> list[MToken]:
    """The tokens with their times, from the frames that the model gave to each phoneme."""
    tokens = [replace(token) for token in utterance.tokens]
    KPipeline.join_timestamps(tokens, frames)
    return tokens


def _is_word(token: MToken) -> bool:
    return (
        any(character.isalnum() for character in token.text)
        and token.start_ts is not None
        and token.end_ts is not None
    )


def _words(tokens: Sequence[MToken], cut_s: float, duration_s: float) -> tuple[Word, ...]:
    """When each word is heard."""
    return tuple(
        Word(
            token.text,
            round(min(max(token.start_ts - cut_s, 0.0), duration_s), 3),
            round(min(max(token.end_ts - cut_s, 0.0), duration_s), 3),
        )
        for token in tokens
        if token.start_ts is not None and token.end_ts is not None
    )
