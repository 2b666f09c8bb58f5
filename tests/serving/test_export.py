import concurrent.futures
import json
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

import keras_densenet as kd
from keras_densenet import serving
from keras_densenet.serving.export import new_version
from tests import tiny
from tests.serving.conftest import LABELS
from tests.serving.files import encode

# Operations that TensorFlow has had for years; a new one may be unknown to a server that lags behind.
ALLOWED = """
    Abs Add AddV2 All Any Assert AssignVariableOp AvgPool BatchDatasetV2 BatchMatMulV2 BiasAdd Cast ConcatV2
    ConcatenateDataset Const Conv2D DatasetToSingleElement DecodeJpeg DecodePng DecodeRaw EnsureShape Equal ExpandDims
    ExtractJpegShape Fill Floor FloorDiv FloorMod FusedBatchNormV3 GatherV2 Greater GreaterEqual Identity IdentityN If
    IgnoreErrorsDataset LessEqual LogicalAnd LogicalOr MatMul Max MaxPool Maximum Mean MergeV2Checkpoints Min Minimum
    Mul NoOp Pack Pad ParallelMapDatasetV2 PartitionedCall Placeholder Pow Prod Range ReadVariableOp RealDiv Relu
    Reshape ResizeBilinear RestoreV2 SaveV2 ScaleAndTranslate ScatterNd Select SelectV2 Shape ShardedFilename Sigmoid
    Size Softmax Squeeze StatefulPartitionedCall StatelessCase StatelessIf StaticRegexFullMatch StridedSlice
    StringFormat StringJoin StringSplitV2 Sub Substr Sum TensorDataset TensorScatterUpdate TensorSliceDataset Tile
    TopKV2 Transpose Unpack VarHandleOp VarIsInitializedOp Where ZerosLike
"""


@pytest.mark.slow
def test_every_signature_gives_keras_answers_through_the_c_loader(exported):
    run, pixels = exported.native.run, exported.pixels
    files = np.array([encode(image) for image in pixels], object)
    answers = [
        run("serving_default", {"image": pixels.astype("float32")}),
        run("serving_uint8", {"image": pixels}),
        run("image_bytes", {"image_bytes": files}),
    ]
    order = np.argsort(-exported.probabilities, -1, kind="stable")[:, :3]
    for answer in answers:
        np.testing.assert_allclose(answer["probabilities"], exported.probabilities, atol=1e-5)
        np.testing.assert_allclose(answer["probabilities"], keras.ops.softmax(answer["logits"]), atol=1e-6)
        assert answer["top_labels"].tolist() == [[LABELS[index].encode() for index in row] for row in order]
        assert answer["label"].tolist() == [LABELS[index].encode() for index in order[:, 0]]
        np.testing.assert_allclose(
            answer["top_scores"], np.take_along_axis(exported.probabilities, order, -1), atol=1e-5
        )
    pyramid = kd.feature_pyramid(exported.model, ["P1", "P3"]).predict_on_batch(pixels / np.float32(255))
    features = run("features", {"image": pixels.astype("float32")})
    assert sorted(features) == ["P1", "P3", "embedding"]
    for level, expected in pyramid.items():
        np.testing.assert_allclose(features[level], expected, atol=1e-5)
    np.testing.assert_allclose(features["embedding"], pyramid["P3"].mean((1, 2)), atol=1e-5)


@pytest.mark.slow
def test_saved_model_cli_and_tensorflow_alone_run_it_in_processes_of_their_own(exported, tmp_path):
    np.save(tmp_path / "image.npy", exported.pixels.astype("float32"))
    cli = ["-m", "tensorflow.python.tools.saved_model_cli"]
    shown = _python(*cli, "show", "--dir", exported.folder, "--all")
    for name in ("serving_default", "serving_uint8", "image_bytes", "features", "top_scores", "embedding"):
        assert f"['{name}']" in shown
    signature = ["--tag_set", "serve", "--signature_def", "serving_default"]
    given = ["--inputs", f"image={tmp_path}/image.npy", "--outdir", tmp_path]
    _python(*cli, "run", "--dir", exported.folder, *signature, *given)
    script = pathlib.Path(serving.__file__).with_name("run_saved_model.py")
    _python("-I", script, exported.folder, tmp_path / "image.npy", tmp_path / "alone.npy")
    for file in ("probabilities", "alone"):
        np.testing.assert_allclose(np.load(tmp_path / f"{file}.npy"), exported.probabilities, atol=1e-5)


def _python(*arguments):
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=pathlib.Path(__file__).parents[2], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_graph_is_small_and_has_only_long_established_operations(exported):
    found = exported.native.operations
    assert not set(found) - set(ALLOWED.split())
    assert found.total() < 1000
    assert not any("_XlaMustCompile" in function.attr for function in exported.native.graph.library.function)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "options"),
    [
        ({"stem": "cifar", "kind": "plain"}, {"preprocessing": "caffe"}),
        ({"stem": "imagenet", "input_shape": (None, None, 3)}, {"preprocessing": "torch", "size": (19, 16)}),
        ({"stem": "imagenet"}, {"folded": False}),
    ],
    ids=["any plain network", "resizing", "not folded"],
)
def test_other_exports_have_no_other_operations(tmp_path, network, options):
    native = serving.NativeModel(kd.export_saved_model(tiny.network(**network), tmp_path, "net", **options))
    assert not set(native.operations) - set(ALLOWED.split())
    native.close()


@pytest.mark.slow
def test_the_inference_form_is_served_unless_told_otherwise_and_xla_when_asked(exported, tmp_path):
    folder = kd.export_saved_model(exported.model, tmp_path, "net", folded=False, xla=True)
    model = serving.NativeModel(folder)
    assert exported.native.operations["Pow"] == 0
    assert model.operations["Pow"] > 0
    assert any(function.attr["_XlaMustCompile"].b for function in model.graph.library.function)
    answer = model.run("serving_default", {"image": exported.pixels / np.float32(255)})
    np.testing.assert_allclose(answer["probabilities"], exported.probabilities, atol=1e-5)
    assert answer["label"][0] == str(exported.probabilities[0].argmax()).encode()
    model.close()


@pytest.mark.slow
@pytest.mark.parametrize("sized_by", ["argument", "layer"])
def test_a_network_of_any_size_serves_any_size(tmp_path, sized_by):
    model = tiny.network(input_shape=(None, None, 1), classes=1, classifier_activation=None)
    front = {"argument": None, "layer": keras.layers.Resizing(9, 8)}[sized_by]
    folder = kd.export_saved_model(model, tmp_path, "net", preprocessing=front, size=(9, 8) if front is None else None)
    native = serving.NativeModel(folder)
    images = np.random.default_rng(0).uniform(size=(2, 13, 11, 1)).astype("float32")
    seen = images if front is None else front(images)
    answer = native.run("serving_default", {"image": images})
    np.testing.assert_allclose(answer["probabilities"], keras.ops.sigmoid(model(seen)), atol=1e-5)
    image = np.random.default_rng(0).integers(0, 256, (9, 8)).astype("uint8")
    answer = native.run("image_bytes", {"image_bytes": np.array([encode(image)], object)})
    expected = model(image[None, ..., None].astype("float32"))
    np.testing.assert_allclose(answer["logits"], expected, rtol=1e-4, atol=1e-4)
    native.close()


@pytest.mark.slow
def test_preprocessing_that_the_weights_are_known_to_need_is_put_in_front_once(tmp_path):
    model = tiny.network(stem="imagenet")
    model.preprocessing = "torch"
    pixels = np.random.default_rng(0).integers(0, 256, (2, 19, 16, 3)).astype("float32")
    expected = model(kd.preprocess_input(pixels, "torch"))
    for given in (model, model.with_preprocessing()):
        native = serving.NativeModel(kd.export_saved_model(given, tmp_path, "net"))
        found = native.run("serving_default", {"image": pixels})["probabilities"]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        native.close()
    with pytest.raises(ValueError, match="trained behind mode='torch'"):
        kd.export_saved_model(model, tmp_path, "net", preprocessing="caffe")


def test_labels_card_and_the_servers_configuration_lie_beside_it(exported):
    assert (exported.folder / "assets" / "labels.txt").read_text().splitlines() == LABELS
    card = json.loads((exported.folder / "model_card.json").read_text())
    assert card["architecture"]["blocks"] == list(exported.model.architecture.blocks)
    assert card["parameters"] == kd.cost(exported.model).trainable_parameters
    assert card["preprocessing"][0]["layer"] == "Rescaling"
    assert card["labels"] == LABELS
    assert "saved_model.pb" in card["sha256"]
    assert {path.name for path in exported.base.iterdir()} == {
        *("net", "models.config", "batching.config", "monitoring.config")
    }


@pytest.mark.slow
def test_each_label_has_its_line(tmp_path):
    labels = ["a\nb", "猫", "c\u2028d", "[x]", "e"]
    folder = kd.export_saved_model(tiny.network(blocks=(1, 1)), tmp_path, "net", labels=labels)
    lines = (folder / "assets" / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [r"a\nb", "猫", r"c\u2028d", "[x]", "e"]


@pytest.mark.slow
def test_configuration_that_is_there_is_kept_and_its_batch_sizes_are_warmed(exported, tmp_path):
    (tmp_path / "batching.config").write_text("allowed_batch_sizes: 3\nmax_batch_size { value: 3 }\n")
    for name in ("one", "two", "two"):
        folder = kd.export_saved_model(exported.model, tmp_path, name)
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((tmp_path / "models.config").read_text(), config)
    found = [(model.name, model.base_path) for model in config.model_config_list.config]
    assert found == [("one", "/models/one"), ("two", "/models/two")]
    assert "allowed_batch_sizes: 3" in (tmp_path / "batching.config").read_text()
    requests = [request for request, _ in serving.warmup.read_requests(folder)]
    assert sorted({next(iter(request.inputs.values())).tensor_shape.dim[0].size for request in requests}) == [1, 3]


@pytest.mark.slow
def test_versions_count_up_and_none_is_overwritten(exported, tmp_path):
    for expected in ("1", "2"):
        assert kd.export_saved_model(exported.model, tmp_path, "net").name == expected
    with pytest.raises(FileExistsError, match="is there already"):
        kd.export_saved_model(exported.model, tmp_path, "net", 2)
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["1", "2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            ({"version": version}, "version must be a whole number >= 1. Received: version=")
            for version in (0, -1, 1.5)
        ),
        ({"labels": ["one", "two"]}, "labels must be a list of 5 names, one a class. Received: 2"),
        ({"levels": ["P9"]}, "levels must be among P1, P2, P3. Received: P9"),
        ({"size": (20, 20)}, "size must be left out or fit"),
        ({"top_k": 0}, "top_k must be"),
    ],
)
def test_a_bad_argument_is_refused_and_nothing_is_left(exported, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        kd.export_saved_model(exported.model, tmp_path, "net", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include_top": False}, "Export takes a model from one image to a Dense classifier"),
        ({"input_shape": (None, None, 3)}, "The model takes images of any size: give size"),
    ],
)
def test_a_model_that_cannot_be_served_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        kd.export_saved_model(tiny.network(**options), tmp_path)


@pytest.mark.slow
def test_a_killed_export_leaves_only_complete_versions(tmp_path):
    """Processes that export without end are killed at random moments; all share one import of TensorFlow."""
    script = """
import os, signal, sys, time
import keras
import keras_densenet as kd
from tests import tiny
keras.utils.set_random_seed(0)  # with some weights, pixels that decoders round differently make more of a difference
os.mkdir(sys.argv[1] + "/net")
for seed in range(6):
    child = os.fork()
    if child == 0:
        model = tiny.network(blocks=(1,))
        while True:
            kd.export_saved_model(model, sys.argv[1], "net")
    while len([name for name in os.listdir(sys.argv[1] + "/net") if name.isdecimal()]) <= seed:
        time.sleep(0.05)
    time.sleep(2 * (seed * 0.618 % 1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
    _python("-c", script, tmp_path)
    versions = [path for path in (tmp_path / "net").iterdir() if path.name.isdecimal()]
    assert versions
    for version in versions:
        serving.check_saved_model(version)
    last = kd.export_saved_model(tiny.network(), tmp_path, "net")  # sweeps away what the others left
    assert {path.name for path in (tmp_path / "net").iterdir()} == {path.name for path in [*versions, last]}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_exports_at_the_same_time_get_versions_of_their_own(tmp_path):
    def write(number):
        with new_version(tmp_path, "net") as (target, beside):
            beside.mkdir()
            time.sleep(0.2)
        return target.name

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(write, range(4))) == ["1", "2", "3", "4"]
