"""The conversion of the int8 export: its arithmetic on small graphs, and once the real model."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from synth import weights
from synth.weights.convert import VOICE_SHAPE, convert_voice, fit, model_template, weight_norm_parts
from synth.weights.onnx_weights import dequantize, gates_to_torch, module_path, read_tensors
from synth.weights.sources import ConversionError

Array = npt.NDArray[Any]


def graph_of(nodes: list[onnx.NodeProto], tensors: dict[str, Array]) -> onnx.ModelProto:
    stored = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    return helper.make_model(helper.make_graph(nodes, "export", [], [], initializer=stored))


def int8_layer(
    operator: str, name: str, q: Array, zero_point: Array, scale: Array
) -> onnx.ModelProto:
    """A layer the way onnxruntime writes it: the scale is only found by following the output."""
    nodes = [
        helper.make_node(operator, ["x", "q", "x_zero", "zero"], ["y_int"], name),
        helper.make_node("Cast", ["y_int"], ["y_float"], f"{name}_cast"),
        helper.make_node("Mul", ["x_scale", "merged_scale"], ["scales"], f"{name}_scales_mul"),
        helper.make_node("Mul", ["y_float", "scales"], ["y"], f"{name}_output_scale_mul"),
    ]
    return graph_of(nodes, {"q": q, "zero": zero_point, "merged_scale": scale})


@given(
    q=st.lists(st.integers(0, 255), min_size=12, max_size=12),
    zero_point=st.integers(0, 255),
    scale=st.floats(2**-20, 8.0, width=32),
)
def test_convolution_weights_are_q_minus_zero_point_times_scale(
    q: list[int], zero_point: int, scale: float
) -> None:
    stored = np.array(q, dtype=np.uint8).reshape(2, 2, 3)
    model = int8_layer(
        "ConvInteger",
        "/encoder/F0.0/conv1/Conv_quant",
        stored,
        np.array(zero_point, dtype=np.uint8),
        np.array(scale, dtype=np.float32),
    )
    weight = dict(read_tensors(model))["predictor.F0.0.conv1.weight"]
    exact = (stored.astype(np.float64) - zero_point) * scale
    np.testing.assert_allclose(weight, exact, rtol=1e-6)


def test_matrix_weights_have_a_scale_per_column_and_come_out_transposed() -> None:
    q = np.array([[1, -2, 3], [4, 5, -6]], dtype=np.int8)
    scale = np.array([0.5, 0.25, 2.0], dtype=np.float32)
    zero_point = np.array([0, 1, 0], dtype=np.int8)
    model = int8_layer("MatMulInteger", "/encoder/shared/fc/MatMul_quant", q, zero_point, scale)
    weight = dict(read_tensors(model))["predictor.shared.fc.weight"]
    np.testing.assert_array_equal(weight, ((q - zero_point) * scale).T)


def test_only_the_first_of_the_twelve_uses_of_the_shared_layer_is_taken() -> None:
    layer = "/encoder/bert/encoder/albert_layer_groups.0/albert_layers.0/attention/query"
    q, one = np.ones((2, 2), dtype=np.int8), np.ones(2, dtype=np.float32)
    first, seventh = (
        dict(read_tensors(int8_layer("MatMulInteger", name, q, np.zeros(2, dtype=np.int8), one)))
        for name in (f"{layer}/MatMul_quant", f"{layer}_7/MatMul_quant")
    )
    assert list(first) == [
        "bert.encoder.albert_layer_groups.0.albert_layers.0.attention.query.weight"
    ]
    assert seventh == {}


def test_lstm_gates_go_from_i_o_f_c_to_i_f_c_o() -> None:
    np.testing.assert_array_equal(
        gates_to_torch(np.array(["i1", "i2", "o1", "o2", "f1", "f2", "c1", "c2"])),
        ["i1", "i2", "f1", "f2", "c1", "c2", "o1", "o2"],
    )


def lstm_graph(
    q_w: Array, q_r: Array, bias: Array, scale_w: Array, scale_r: Array
) -> onnx.ModelProto:
    zero = np.zeros(2, dtype=np.int8)
    inputs = ["x", "W", "R", "B", "", "h0", "c0", "", "W_scale", "zero", "R_scale", "zero"]
    name = "/encoder/text_encoder/lstm/LSTM_quant"
    node = helper.make_node("DynamicQuantizeLSTM", inputs, ["y"], name)
    stored = {"W": q_w, "R": q_r, "B": bias, "W_scale": scale_w, "R_scale": scale_r, "zero": zero}
    return graph_of([node], stored)


def test_a_converted_lstm_computes_what_the_onnx_definition_says() -> None:
    features, hidden, steps = 3, 2, 4
    rng = np.random.default_rng(0)
    q_w = rng.integers(-90, 90, (2, features, 4 * hidden)).astype(np.int8)
    q_r = rng.integers(-90, 90, (2, hidden, 4 * hidden)).astype(np.int8)
    bias = rng.normal(size=(2, 8 * hidden)).astype(np.float32)
    scale_w = np.array([0.01, 0.02], dtype=np.float32)
    scale_r = np.array([0.03, 0.01], dtype=np.float32)
    tensors = dict(read_tensors(lstm_graph(q_w, q_r, bias, scale_w, scale_r)))

    lstm = torch.nn.LSTM(features, hidden, bidirectional=True)
    prefix = "text_encoder.lstm."
    lstm.load_state_dict(
        {name.removeprefix(prefix): torch.from_numpy(t.copy()) for name, t in tensors.items()}
    )
    x = rng.normal(size=(steps, features)).astype(np.float32)
    with torch.no_grad():
        heard = lstm(torch.from_numpy(x)[:, None])[0][:, 0].numpy()

    for direction, order in enumerate((range(steps), reversed(range(steps)))):
        w = q_w[direction] * scale_w[direction]
        r = q_r[direction] * scale_r[direction]
        b = bias[direction][: 4 * hidden] + bias[direction][4 * hidden :]
        h = c = np.zeros(hidden)
        for t in order:
            i, o, f, g = np.split(x[t] @ w + h @ r + b, 4)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            mine = heard[t, direction * hidden : (direction + 1) * hidden]
            np.testing.assert_allclose(mine, h, atol=1e-5)


def test_rows_of_zeros_stay_zero_through_torch_weight_norm() -> None:
    weight = np.array([[[3.0, 4.0]], [[0.0, 0.0]]], dtype=np.float32)
    v, g = weight_norm_parts(weight)
    np.testing.assert_array_equal(g, [[[5.0]], [[0.0]]])
    rebuilt = torch._weight_norm(torch.from_numpy(v), torch.from_numpy(g), 0)
    np.testing.assert_allclose(rebuilt.numpy(), weight, rtol=1e-6)


def test_the_same_row_without_the_repair_would_be_nan() -> None:
    zeros = torch.zeros(1, 1, 2)
    assert torch._weight_norm(zeros, torch.zeros(1, 1, 1), 0).isnan().all()


@pytest.mark.parametrize(
    ("node", "module"),
    [
        ("/encoder/F0.0/conv1/Conv_quant", "predictor.F0.0.conv1"),
        ("/encoder/lstm/LSTM_quant", "predictor.lstm"),
        ("/encoder/predictor/text_encoder/lstms.1/fc/Gemm", "predictor.text_encoder.lstms.1.fc"),
        ("/encoder/text_encoder/cnn.0/cnn.0.0/Conv_quant", "text_encoder.cnn.0.0"),
        ("/encoder/bert_encoder/MatMul_quant", "bert_encoder"),
        ("/decoder/decoder/asr_res/asr_res.0/Conv_quant", "decoder.asr_res.0"),
        ("/decoder/decoder/generator/ups.0/ConvTranspose", "decoder.generator.ups.0"),
    ],
)
def test_a_node_name_gives_its_torch_module(node: str, module: str) -> None:
    assert module_path(node) == module


def test_a_missing_tensor_is_refused_by_name() -> None:
    with pytest.raises(ConversionError, match=r"no tensor for decoder\.up\.bias"):
        fit({}, {"decoder.up.bias": torch.empty(2)})


def test_a_tensor_without_a_place_is_refused_by_name() -> None:
    with pytest.raises(ConversionError, match=r"no place for decoder\.extra"):
        fit({"decoder.extra": np.zeros(1)}, {})


def test_a_tensor_of_another_shape_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"a\.bias is \(3,\) and should be \(2,\)"):
        fit({"a.bias": np.zeros(3)}, {"a.bias": torch.empty(2)})


def test_a_tensor_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ConversionError, match="not finite"):
        fit({"a.bias": np.array([1.0, np.nan])}, {"a.bias": torch.empty(2)})


def test_dequantising_signed_and_unsigned_extremes_does_not_wrap() -> None:
    for lowest, highest, kind in ((0, 255, np.uint8), (-128, 127, np.int8)):
        q, zero_point = np.array([lowest], dtype=kind), np.array([highest], dtype=kind)
        assert dequantize(q, zero_point, np.ones(1)) == [-255.0]


def test_a_voice_comes_back_as_the_tensor_that_went_in() -> None:
    vectors = np.random.default_rng(1).normal(size=VOICE_SHAPE).astype("<f4")
    out = io.BytesIO()
    convert_voice(vectors.tobytes(), out)
    out.seek(0)
    tensor = torch.load(out, weights_only=True)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), vectors)


def test_equal_voices_make_equal_files() -> None:
    raw = np.zeros(VOICE_SHAPE, dtype="<f4").tobytes()
    first, second = io.BytesIO(), io.BytesIO()
    convert_voice(raw, first)
    convert_voice(raw, second)
    assert first.getvalue() == second.getvalue()


@pytest.mark.parametrize(
    "raw",
    [b"", b"123", bytes(4 * 510), np.full(VOICE_SHAPE, np.nan, dtype="<f4").tobytes()],
)
def test_what_is_no_voice_is_refused(raw: bytes) -> None:
    with pytest.raises(ConversionError, match="a voice is"):
        convert_voice(raw, io.BytesIO())


@pytest.fixture(scope="module")
def real() -> weights.Weights:
    """The real weights; downloads and converts them the first time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return weights.fetch("auto", weights.default_cache_dir())


@pytest.fixture(scope="module")
def checkpoint(real: weights.Weights) -> dict[str, dict[str, torch.Tensor]]:
    parts: dict[str, dict[str, torch.Tensor]] = torch.load(
        real.folder / "kokoro-v1_0.pth", weights_only=True
    )
    return parts


def test_the_real_checkpoint_loads_into_kokoro_key_by_key(
    real: weights.Weights, checkpoint: dict[str, dict[str, torch.Tensor]]
) -> None:
    if real.origin != "registries":
        pytest.skip("the hub's own checkpoint has other names, which KModel knows")
    flat = {f"{part}.{key}": t for part, state in checkpoint.items() for key, t in state.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        template = model_template(real.folder / "config.json")
    assert {key: t.shape for key, t in flat.items()} == {k: t.shape for k, t in template.items()}


def test_every_number_of_the_real_checkpoint_is_finite(
    checkpoint: dict[str, dict[str, torch.Tensor]],
) -> None:
    assert all(t.isfinite().all() for state in checkpoint.values() for t in state.values())


def test_the_real_model_speaks_without_a_nan(real: weights.Weights) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kokoro.model import KModel

        model = KModel(
            repo_id="hexgrad/Kokoro-82M",
            config=str(real.folder / "config.json"),
            model=str(real.folder / "kokoro-v1_0.pth"),
        ).eval()
        voice = torch.load(real.folder / "voices/af_heart.pt", weights_only=True)
        phonemes = "həlˈO wˈɜɹld."
        audio = model(phonemes, voice[len(phonemes) - 1])
    assert audio.isfinite().all()
    loudness = float(audio.square().mean().sqrt())
    assert 0.01 < loudness < 0.3  # Neither silence nor full scale.


def test_all_54_real_voices_are_present_and_of_the_right_shape(real: weights.Weights) -> None:
    assert len(real.voices) == 54
    for name in real.voices:
        voice = torch.load(real.folder / "voices" / f"{name}.pt", weights_only=True)
        assert voice.shape == VOICE_SHAPE and voice.isfinite().all()


def test_the_packaged_configuration_has_a_place_for_every_symbol() -> None:
    config = json.loads((Path(weights.__file__).parent / "data/config.json").read_text("utf-8"))
    assert sorted(set(config["vocab"].values())) == sorted(config["vocab"].values())
    assert max(config["vocab"].values()) < config["n_token"]


def test_the_real_voices_are_the_raw_ones_that_were_pinned(real: weights.Weights) -> None:
    pinned = json.loads(
        (Path(weights.__file__).parent / "data/voices.sha256.json").read_text("utf-8")
    )
    voice = torch.load(real.folder / "voices/bf_emma.pt", weights_only=True)
    assert hashlib.sha256(voice.numpy().tobytes()).hexdigest() == pinned["bf_emma"]
