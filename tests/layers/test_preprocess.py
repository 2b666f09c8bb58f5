"""Raw pixels to a network's input: against Pillow, against keras.applications, in every way that it is run."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_densenet.layers import Preprocess
from tests.tiny import run_fresh

ARGUMENTS = {"mode": "caffe", "size": (40, 56), "crop_pct": 0.875, "interpolation": "bicubic"}


@pytest.fixture(scope="module")
def photo():
    """A real photograph, uint8 `(427, 640, 3)`."""
    return pytest.importorskip("sklearn.datasets").load_sample_images().images[0]


def _pillow(image, shorter, size, filter_):
    """The torchvision recipe: `Resize(shorter)`, then `CenterCrop(size)`."""
    height, width = image.shape[:2]
    factor = (shorter, min(height, width))
    new = [int(factor[0] * side / factor[1]) for side in (width, height)]
    left, top = (round((side - size) / 2) for side in new)
    resized = Image.fromarray(image).resize(new, filter_)
    return np.asarray(resized.crop((left, top, left + size, top + size)), "float32")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("turned", [False, True], ids=["wide", "tall"])
@pytest.mark.parametrize(("size", "crop_pct", "shorter"), [(224, 0.875, 256), (231, 0.95, 243), (512, 1.0, 512)])
def test_equals_pillows_resize_to_its_rounding(photo, size, crop_pct, shorter, turned, interpolation):
    """Pillow rounds to whole levels after each of its two passes: together at most 0.5 * 1.3 + 0.5 levels of 255."""
    image = photo.transpose(1, 0, 2) if turned else photo
    ours = Preprocess("unit", size, crop_pct, interpolation)(image[None])[0] * 255
    difference = abs(ours - _pillow(image, shorter, size, Image.Resampling[interpolation.upper()])).numpy()
    assert difference.max() < 1.3
    assert difference.mean() < 0.3


@pytest.mark.parametrize(("mode", "theirs"), [("torch", "densenet"), ("caffe", "resnet")])
def test_named_conventions_are_those_of_keras_applications(photo, mode, theirs):
    expected = getattr(keras.applications, theirs).preprocess_input(photo.astype("float32"))
    np.testing.assert_allclose(Preprocess(mode)(photo[None])[0], expected, rtol=1e-5, atol=1e-5)


def test_unit_and_own_statistics(photo):
    np.testing.assert_allclose(Preprocess("unit")(photo[None])[0], photo / 255, rtol=1e-6)
    image = np.arange(24, dtype="uint16").reshape(1, 2, 3, 4) * 1000
    mean, std = np.array([1.0, 2.0, 3.0, 4.0]), [10.0, 20.0, 30.0, 40.0]
    np.testing.assert_allclose(Preprocess({"mean": mean, "std": std})(image), (image - mean) / std, rtol=1e-6)
    np.testing.assert_allclose(Preprocess({"mean": 5, "std": 2})(image), (image - 5.0) / 2, rtol=1e-6)


def test_same_in_a_graph_of_unknown_sizes_under_xla_and_from_other_types(photo):
    layer, image = Preprocess(**ARGUMENTS), photo[None, :120, :90]
    expected = layer(image)
    unknown = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    for other in (
        unknown(image),
        tf.function(layer, jit_compile=True)(image),
        layer(image.astype("float64")),
        layer(image.astype("int32")),
    ):
        np.testing.assert_allclose(other, expected, atol=2e-3)
    assert unknown(image).shape == expected.shape == layer.compute_output_shape((1, None, None, 3))


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16", "float64"])
def test_computes_in_float32_whatever_the_policy(photo, policy):
    expected = Preprocess(**ARGUMENTS)(photo[None])
    keras.config.set_dtype_policy(policy)
    found = Preprocess(**ARGUMENTS)(photo[None])
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"])
def test_a_dtype_of_its_own_is_what_it_declares_and_returns(photo, dtype, kind):
    """16-bit pixels, which float16 does not hold, reach the arithmetic as they are."""
    mode = {"mean": 30_000.0, "std": 20_000.0} if kind == "uint16" else "torch"
    image = (photo.astype(kind) * (257 if kind == "uint16" else 1))[None, :60, :60]
    layer = Preprocess(mode, 40, 0.9, dtype=dtype)
    declared, found = layer(keras.Input((60, 60, 3), dtype=kind)), layer(image)
    assert declared.dtype == found.dtype == layer.compute_dtype
    expected = Preprocess(mode, 40, 0.9)(image)
    np.testing.assert_allclose(tf.cast(found, "float32"), expected, atol=1e-5 if dtype == "float64" else 0.02)


@pytest.mark.parametrize("size", [None, (40, 56)])
def test_single_images_in_a_pipeline_come_out_as_in_a_batch(photo, size):
    layer = Preprocess("torch", size)
    one_by_one = tf.data.Dataset.from_tensors(photo).map(layer).batch(1)
    np.testing.assert_allclose(next(iter(one_by_one)), layer(photo[None]), atol=1e-5)
    unknown = tf.data.Dataset.from_generator(lambda: [photo], output_signature=tf.TensorSpec((None, None, 3), "uint8"))
    np.testing.assert_allclose(next(iter(unknown.map(layer))), layer(photo[None])[0], atol=2e-3)
    assert layer.compute_output_shape(photo.shape) == layer(photo).shape


@settings(max_examples=15, deadline=None)
@given(
    old=st.tuples(*[st.integers(1, 40)] * 2),
    new=st.tuples(*[st.integers(1, 40)] * 2),
    crop_pct=st.sampled_from([1.0, 0.9, 0.5]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_any_size_becomes_any_size_and_a_plain_image_stays_plain(old, new, crop_pct, interpolation):
    layer = Preprocess({"mean": 0.0, "std": 1.0}, new, crop_pct, interpolation)
    found = layer(np.full((2, *old, 1), 77.0, "float32"))
    np.testing.assert_allclose(found, np.full((2, *new, 1), 77.0), rtol=1e-5)


@pytest.mark.slow
def test_a_saved_model_runs_without_this_package_and_holds_plain_operations(photo, tmp_path):
    layer = Preprocess(**ARGUMENTS)
    image = keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model(image, layer(image))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[-1].get_config() == layer.get_config()
    again.export(tmp_path / "exported", verbose=False)
    np.save(tmp_path / "photo.npy", photo[None])
    script = (
        "import sys, numpy as np, tensorflow as tf\n"
        "serve = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "np.save(sys.argv[3], serve(tf.constant(np.load(sys.argv[2])))['output_0'])\n"
        "print(*{op.type for f in [serve.graph, *serve.graph._functions.values()]"
        " for op in getattr(f, 'graph', f).get_operations()})"
    )
    operations = run_fresh(script, tmp_path / "exported", tmp_path / "photo.npy", tmp_path / "out.npy").split()
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), layer(photo[None]), atol=2e-3)
    assert not {"ScaleAndTranslate", "ResizeBicubic", "PyFunc", "EagerPyFunc"} & set(operations)


def test_gradients_reach_the_pixels(photo):
    image = tf.constant(photo[None, :60, :60].astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(image)
        total = tf.reduce_sum(Preprocess("unit", 20)(image))
    np.testing.assert_allclose(np.sum(tape.gradient(total, image)), 20 * 20 * 3 / 255, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": None}, r"^mode must be .* Received: mode=None$"),
        ({"mode": "tf"}, r"^mode must be .* Received: mode='tf'$"),
        ({"mode": {"mean": 3.0}}, r"^mode must be .*"),
        ({"mode": {"mean": [1.0, 2.0], "std": [1.0, 2.0, 3.0]}}, r"^mean must be finite and std positive"),
        ({"mode": {"mean": 0.0, "std": 0.0}}, r"^mean must be finite and std positive"),
        ({"mode": {"mean": float("nan"), "std": 1.0}}, r"^mean must be finite and std positive"),
        ({"size": 0}, r"^size must be a whole number >= 1\. Received: size=0$"),
        ({"size": (1, 2, 3)}, r"^size must be None, an int or"),
        ({"size": 8, "crop_pct": 1.5}, r"^crop_pct must be in \(0, 1\]\. Received: crop_pct=1\.5$"),
        ({"crop_pct": 0.5}, r"^crop_pct needs a size"),
        ({"size": 8, "interpolation": "area"}, r"^interpolation must be .* Received: interpolation='area'$"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Preprocess(**arguments)


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"^mode='torch' is for images of 3 channels\. Received: 1; give"):
        Preprocess("torch")(np.zeros((1, 4, 4, 1)))


@pytest.mark.slow
def test_grey_images_of_many_sizes_leave_the_memory_alone():
    run_fresh("""
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
from keras_densenet.layers import Preprocess
layer = Preprocess("unit", size=96, crop_pct=0.875)
graph = tf.function(layer)
for height, width in [(131, 157), (97, 96), (300, 200), (200, 300), (224, 224)] * 3:
    images = np.random.default_rng(0).uniform(0, 255, (3, height, width, 1)).astype("float32")
    np.testing.assert_allclose(layer(images), graph(images), atol=1e-4)
""")
