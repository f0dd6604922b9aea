"""Turn the published int8 ONNX export of Kokoro-82M into the checkpoint that ``KModel`` loads.

Imports torch and onnx, so it is imported only when something has to be converted.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import onnx
import torch

from synth.weights.onnx_weights import Array, read_tensors
from synth.weights.sources import REPOSITORY, ConversionError

State = dict[str, torch.Tensor]

VOICE_SHAPE = (510, 1, 256)
"""Style vectors of one voice: utterance length in phonemes, batch, style (float32)."""


def weight_norm_parts(weight: Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Split ``weight`` into torch weight norm's (v, g), with g of shape (rows, 1, ...).

    Rows that quantised to all zeros get v = 1 and g = 0: there ``v / ||v||`` would be 0 / 0, and
    one NaN row silences the whole model.
    """
    v = weight.astype(np.float32)
    axes = tuple(range(1, v.ndim))
    # Summed in float64 so that the result does not depend on the machine's vector width.
    g = np.sqrt(np.square(v.astype(np.float64)).sum(axis=axes, keepdims=True)).astype(np.float32)
    return np.where(g == 0.0, np.float32(1.0), v), g


def fit(tensors: Mapping[str, Array], template: Mapping[str, torch.Tensor]) -> State:
    """Fill every key of ``template`` (a ``KModel.state_dict()``; only shapes matter).

    :raises ConversionError: naming keys without a tensor, tensors without a key, wrong shapes and
        values that are not finite.
    """
    state: State = {}
    used: set[str] = set()
    for key, like in template.items():
        source = key.removesuffix("_v").removesuffix("_g") if ".weight_" in key else key
        if source in tensors:
            used.add(source)
            value = _fitted(key, tensors[source])
        elif (default := _default_value(key, tuple(like.shape))) is not None:
            value = default
        else:
            raise ConversionError(f"the ONNX file has no tensor for {key}")
        if value.shape != tuple(like.shape):
            raise ConversionError(f"{key} is {value.shape} and should be {tuple(like.shape)}")
        if not np.isfinite(value).all():
            raise ConversionError(f"{key} holds values that are not finite")
        state[key] = torch.from_numpy(np.array(value, dtype=np.float32, order="C"))
    if unused := sorted(set(tensors) - used):
        raise ConversionError(f"KModel has no place for {', '.join(unused[:5])}")
    return state


def convert_model(onnx_file: Path, config_file: Path, out: BinaryIO) -> None:
    """Write the checkpoint of ``onnx_file`` to ``out``: ``{part: state_dict}`` with the five parts
    of KModel.

    It is complete, so that KModel's strict load succeeds. That matters: on any difference KModel
    silently cuts seven characters off each name and loads whatever still matches, i.e. nothing.

    :raises ConversionError: when the graph and KModel do not agree, key by key.
    """
    tensors = dict(read_tensors(onnx.load(onnx_file)))
    state = fit(tensors, model_template(config_file))
    del tensors
    nested: dict[str, State] = {}
    for key, tensor in state.items():
        part, _, name = key.partition(".")
        nested.setdefault(part, {})[name] = tensor
    # Saving to a stream, not a path: torch would write the path's stem into the archive, and
    # equal weights would differ in their digest.
    torch.save(nested, out)


def convert_voice(raw: bytes, out: BinaryIO) -> None:
    """Write little-endian float32 style vectors to ``out`` as the tensor KPipeline loads.

    :raises ConversionError: unless ``raw`` is 510 x 1 x 256 finite numbers.
    """
    vectors = np.frombuffer(raw, dtype="<f4") if len(raw) % 4 == 0 else np.empty(0)
    if vectors.size != np.prod(VOICE_SHAPE) or not np.isfinite(vectors).all():
        raise ConversionError(f"a voice is {VOICE_SHAPE} finite float32; got {len(raw)} bytes")
    torch.save(torch.from_numpy(vectors.astype(np.float32).reshape(VOICE_SHAPE)), out)


def model_template(config_file: Path) -> dict[str, torch.Tensor]:
    """KModel's state_dict with shapes but no memory (tensors on torch's meta device)."""
    from kokoro.model import KModel

    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    config = json.loads(config_file.read_text(encoding="utf-8"))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Kokoro's own modules use what torch deprecates.
        model = KModel(repo_id=REPOSITORY, config=config, model=empty)
    return dict(model.state_dict())


def _fitted(key: str, tensor: Array) -> Array:
    if key.endswith(".weight_v"):
        return weight_norm_parts(tensor)[0]
    if key.endswith(".weight_g"):
        return weight_norm_parts(tensor)[1]
    return tensor


def _default_value(key: str, shape: tuple[int, ...]) -> Array | None:
    """What the export leaves out because it changes nothing."""
    if key.endswith(".norm.weight"):  # Instance norms are affine in KModel only by name,
        return np.ones(shape, dtype=np.float32)
    if key.endswith(".norm.bias"):  # and were exported as the identity.
        return np.zeros(shape, dtype=np.float32)
    if key.startswith("bert.pooler."):  # Kokoro reads ALBERT's last hidden state, never the pool.
        return np.zeros(shape, dtype=np.float32)
    return None
