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
from torch.nn.utils import remove_weight_norm

from synth.audio.check import Samples, check_length, check_signal, to_pcm
from synth.audio.level import level
from synth.audio.trim import trim
from synth.engine import SAMPLE_RATE_HZ, Clip, EngineError, Segment, Word
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
        torch.manual_seed(segment.seed)
        clips = []
        for utterance in utterances:
            alive()
            clips.append(self._utter(utterance, segment))
        if len(clips) == 1:
            return clips[0]
        return Clip(np.concatenate([clip.pcm for clip in clips]))

    def _utter(self, utterance: Utterance, segment: Segment) -> Clip:
        pack = self._pack(segment.blend)
        output = KPipeline.infer(self._model, utterance.phonemes, pack, segment.speed)
        samples: Samples = output.audio.numpy()
        check_signal(samples)
        trimmed = trim(samples, segment.speed)
        duration_s = len(trimmed.samples) / SAMPLE_RATE_HZ
        check_length(duration_s, utterance.phonemes, segment.speed)
        words = _words(utterance, output.pred_dur, trimmed.start_s, duration_s)
        return Clip(to_pcm(level(trimmed.samples)), words)

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


def _words(
    utterance: Utterance, frames: torch.Tensor, cut_s: float, duration_s: float
) -> tuple[Word, ...]:
    """When each word is heard, from the frames that the model gave to each phoneme."""
    tokens = [replace(token) for token in utterance.tokens]
    KPipeline.join_timestamps(tokens, frames)
    return tuple(
        Word(
            token.text,
            round(min(max(token.start_ts - cut_s, 0.0), duration_s), 3),
            round(min(max(token.end_ts - cut_s, 0.0), duration_s), 3),
        )
        for token in tokens
        if token.start_ts is not None and token.end_ts is not None
    )
