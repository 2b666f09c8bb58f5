"""Exports that compute in 16 bits: what is in the graph, what the server answers, and what is refused."""

import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import serving
from keras_densenet.cli import app
from keras_densenet.serving.agreement import Agreement
from tests import tiny
from tests.oracle import randomise

pytestmark = pytest.mark.slow

PIXELS = np.random.default_rng(1).integers(0, 256, (4, 19, 16, 3)).astype("uint8")


def export(model, base, **options):
    return kd.export_saved_model(model, base, "net", preprocessing=keras.layers.Rescaling(1 / 255), **options)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A network with nothing trivial in it, exported in three precisions."""
    base = tmp_path_factory.mktemp("served")
    keras.utils.set_random_seed(0)
    model = randomise(tiny.network(stem="imagenet", growth_rate=8))
    folders = {
        precision: export(model, base / precision, precision=precision, levels=["P1", "P3"], representative=PIXELS)
        for precision in ("float32", "bfloat16", "float16")
    }
    return types.SimpleNamespace(model=model, base=base, folders=folders)


def nodes_of(folder):
    """The nodes of each function of an export, and of its graph."""
    native = serving.NativeModel(folder)
    graph = native.graph
    native.close()
    return [list(graph.node), *(list(function.node_def) for function in graph.library.function)]


def constants(folder, kind):
    """Bytes of the different constants of a type that are no scalars."""
    nodes = [node for nodes in nodes_of(folder) for node in nodes if node.op == "Const" and dtype_of(node) == kind]
    tensors = [node.attr["value"].tensor for node in nodes]
    return sum(map(len, {tf.make_ndarray(tensor).tobytes() for tensor in tensors if tensor.tensor_shape.dim}))


def dtype_of(constant):
    return tf.as_dtype(constant.attr["dtype"].type).name


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_graph_convolves_in_it_and_no_weight_is_cast(served, precision):
    kind, convolutions = tf.as_dtype(precision).as_datatype_enum, []
    for nodes in nodes_of(served.folders[precision]):
        by_name = {node.name: node for node in nodes}
        convolutions += [node.attr["T"].type for node in nodes if node.op == "Conv2D"]
        for node in nodes:
            if node.op == "Cast":  # the other constants that are cast are numbers of the image decoder
                given = by_name.get(node.input[0].split(":")[0].lstrip("^"))
                assert given is None or given.op != "Const" or dtype_of(given) == "int32", node.name
    assert len(convolutions) >= 5
    assert set(convolutions) == {kind}
    kernels = [v.numpy() for layer in kd.fold(served.model).layers[:-1] for v in layer.weights if "conv" in v.name]
    assert constants(served.folders[precision], precision) == sum(kernel.nbytes for kernel in kernels) / 2


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_the_c_loader_answers_in_float32_what_keras_answers(served, precision):
    native = serving.NativeModel(served.folders[precision])
    for signature in native.signatures.values():
        for tensor in [*signature.inputs.values(), *signature.outputs.values()]:
            assert tf.as_dtype(tensor.dtype).name in ("float32", "uint8", "string", "bool")
    found = native.run("serving_uint8", {"image": PIXELS})["probabilities"]
    features = native.run("features", {"image": PIXELS.astype("float32")})
    native.close()
    np.testing.assert_allclose(found, served.model(PIXELS / np.float32(255)), atol=0.02)
    expected = kd.feature_pyramid(served.model, ["P3"])(PIXELS / np.float32(255))["P3"]
    np.testing.assert_allclose(features["P3"], expected, atol=0.05 * np.abs(expected).max())


def test_the_card_names_it_and_the_check_compares_with_float32(served):
    for precision, folder in served.folders.items():
        card, report = json.loads((folder / "model_card.json").read_text()), serving.check_saved_model(folder)
        assert card["precision"] == precision
        if precision == "float32":
            assert report.agreement is None
            assert max(value for name, value in report.deviation.items() if name != "image_bytes") <= 1e-5
        else:
            assert card["agreement"]["images"] == len(PIXELS)
            assert report.agreement.images > len(PIXELS)
            assert report.agreement.decisions >= 0.95
            assert 0 < report.agreement.difference < 0.1


def test_the_kernels_are_folded_before_they_are_rounded_once(served):
    exact, rough = kd.fold(served.model), kd.fold(served.model, "bfloat16")
    for ours, theirs in zip(rough.weights, exact.weights, strict=True):
        if theirs.name.endswith(("kernel", "bias")) and ours.dtype == "bfloat16":
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy().astype(ours.numpy().dtype))
        else:
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_what_overflows_is_refused_and_nothing_is_left(served, tmp_path):
    model = keras.models.clone_model(served.model)
    model.set_weights(served.model.get_weights())
    norm = model.get_layer("head").norm
    norm.gamma.assign(norm.gamma * 1e6)
    with pytest.raises(
        ValueError, match=r"In float16, .* of the decisions on 4 images .*; at least 95% and at most 0.1"
    ):
        export(model, tmp_path, precision="float16", representative=PIXELS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "precision must be one of bfloat16, float16, float32. Received: precision='int8'"),
        ({"precision": "bfloat16", "folded": False}, "precision is for the folded form"),
    ],
)
def test_a_bad_precision_is_refused(served, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export(served.model, tmp_path, **options)


def test_a_network_that_was_trained_in_16_bits_is_served_in_float32_unless_told_otherwise(tmp_path):
    model = tiny.network(stem="imagenet", dtype="mixed_bfloat16")
    folder = export(model, tmp_path)
    assert json.loads((folder / "model_card.json").read_text())["precision"] == "float32"
    assert (
        max(value for name, value in serving.check_saved_model(folder).deviation.items() if name != "image_bytes")
        < 1e-5
    )
    assert constants(folder, "bfloat16") == 0


def test_a_folded_model_is_taken_too(served, tmp_path):
    folder = export(kd.fold(served.model), tmp_path, precision="bfloat16", representative=PIXELS)
    assert constants(folder, "bfloat16") == constants(served.folders["bfloat16"], "bfloat16")


def test_decisions_are_counted_and_near_ties_are_none():
    expected = np.array([[0.6, 0.4], [0.501, 0.499], [0.2, 0.8], [0.9, 0.1]])
    found = np.array([[0.55, 0.45], [0.49, 0.51], [0.6, 0.4], [0.9, 0.1]])
    assert Agreement.of(found, expected) == (4, 0.75, pytest.approx(0.4))
    assert Agreement.of(found, expected, (0.5, 0.5)) == (4, 0.75, pytest.approx(0.4))
    assert Agreement.of(found, expected, (0.3, None)).decisions == 7 / 8  # only the third image's 0.2 reached it
    with pytest.raises(ValueError, match=r"In bfloat16, 75\.0% of the decisions"):
        Agreement.of(found, expected).check("bfloat16")
    with pytest.raises(ValueError, match="differ by up to nan"):
        Agreement.of(found * np.nan, expected, (0.5, 0.5)).check("float16")


def test_the_command_exports_compares_and_refuses(served, tmp_path):
    model = served.model
    model.preprocessing = "unit"
    model.save(tmp_path / "model.keras")
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(PIXELS):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")

    def run(*options):
        given = ["export", str(tmp_path / "model.keras"), "--out", str(tmp_path / "out"), "--name", "net", *options]
        return CliRunner().invoke(app, given, env={"COLUMNS": "160"})

    done = run("--precision", "bfloat16", "--representative", str(tmp_path / "photos"), "--check")
    assert done.exit_code == 0, done.output
    assert "bfloat16: 100.0% of the decisions on" in done.output
    refused = run("--precision", "bfloat16", "--format", "onnx")
    assert refused.exit_code != 0
    assert "--precision cannot be used with --format onnx" in str(refused.output) + str(refused.exception)
    refused = run("--representative", str(tmp_path / "photos"))
    assert "--representative is for" in str(refused.output) + str(refused.exception)
