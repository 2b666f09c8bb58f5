"""The stems, their pools and the head against Keras' own layers, with torch's symmetric padding."""

import keras
import numpy as np
import pytest

from keras_densenet.layers import BlurPool, CifarStem, DeepStem, Head, ImageNetStem, StemPool
from tests import oracle

LAYERS = {
    "imagenet": lambda: ImageNetStem(4, name="stem"),
    "deep": lambda: DeepStem(6, name="stem"),
    "cifar": lambda: CifarStem(4, name="stem"),
    "head": lambda: Head(name="head"),
}


def chain(layer, shape):
    return oracle.randomise(keras.Sequential([keras.Input(shape), layer]))


every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])


@every_layer
@both_modes
@pytest.mark.parametrize("shape", [(1, 8, 6, 3), (2, 9, 7, 1), (2, 5, 12, 4)])
@pytest.mark.usefixtures("float64")
def test_equals_the_plain_composition(make, shape, training):
    oracle.assert_equal_step(chain(make(), shape[1:]), oracle.images_like(shape), training)


@pytest.mark.slow
@every_layer
@both_modes
@pytest.mark.usefixtures("float64")
def test_equals_the_plain_composition_under_xla(make, training):
    images = oracle.images_like((2, 9, 6, 3))
    oracle.assert_equal_step(chain(make(), images.shape[1:]), images, training, jit_compile=True)


@pytest.mark.parametrize("name", ["imagenet", "deep", "head"])
@pytest.mark.usefixtures("float64")
def test_frozen_layer_keeps_its_statistics(name):
    model = chain(LAYERS[name](), (8, 6, 3))
    model.layers[0].trainable = False
    before = [variable.numpy() for variable in model.weights]
    oracle.assert_equal_step(model, oracle.images_like((2, 8, 6, 3)), training=True)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("size", [(8, 6), (9, 7), (1, 2)])
def test_stem_pads_one_side_like_the_other(size):
    """torch pads three pixels on every side: mirroring the image and the kernel mirrors an odd-sized output."""
    layer = ImageNetStem(2)
    images = oracle.images_like((1, *size, 3), "float32")
    padded = np.pad(images, [(0, 0), (3, 3), (3, 3), (0, 0)])
    layer.build(images.shape)
    kernel = layer.get_weights()[0]
    rows, columns = ((length + 6 - 7) // 2 + 1 for length in size)
    expected = np.zeros((1, rows, columns, 2))
    for row in range(rows):
        for column in range(columns):
            window = padded[0, 2 * row : 2 * row + 7, 2 * column : 2 * column + 7]
            expected[0, row, column] = np.einsum("hwc,hwco->o", window, kernel)
    np.testing.assert_allclose(layer(images), np.maximum(expected / np.sqrt(1 + 1e-5), 0), rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape(images.shape) == (1, rows, columns, 2)


SIZES = [(make, size) for make in (StemPool, BlurPool) for size in [(8, 6), (9, 7), (8, 5), (2, 3)]]
UNDER_XLA = [(StemPool, (9, 6)), (StemPool, (1, 2)), (BlurPool, (9, 6))]


@both_modes
@pytest.mark.parametrize(
    ("make", "size", "compiled"),
    [(*case, False) for case in [*SIZES, (StemPool, (1, 2))]]
    + [pytest.param(*case, True, marks=pytest.mark.slow) for case in UNDER_XLA],
)
@pytest.mark.usefixtures("float64")
def test_stem_pool_equals_keras_pooling_behind_symmetric_padding(make, size, compiled, training):
    images = np.maximum(oracle.images_like((2, *size, 3)), 0)
    model = keras.Sequential([keras.Input(images.shape[1:]), make()])
    oracle.assert_equal_step(model, images, training, compiled)
    assert make()(images).shape == make().compute_output_shape(images.shape)


def test_blurred_pool_moves_with_the_image_by_hand():
    """One bright row among dark ones is three rows of maxima, wherever it stands: blurred, the same light in all."""
    images = np.zeros((2, 9, 9, 1), "float32")
    images[0, 4], images[1, 5] = 16, 16
    even, odd = BlurPool()(images)[:, :, 2, 0].numpy()
    np.testing.assert_array_equal(even, [0, 4, 16, 4, 0])
    np.testing.assert_array_equal(odd, [0, 0, 12, 12, 0])


def test_an_image_too_small_to_be_mirrored_is_refused():
    for image in (np.zeros((1, 1, 5, 3), "float32"), keras.Input((1, 5, 3))):
        with pytest.raises(ValueError, match=r"Layer 'pool' mirrors .* 2x2 pixels\. Received: 1x5 pixels"):
            BlurPool(name="pool")(image)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (LAYERS["imagenet"], ["conv_kernel", "norm_beta", "norm_gamma", "norm_moving_mean", "norm_moving_variance"]),
        (
            LAYERS["deep"],
            [
                *("conv2_kernel", "conv3_kernel", "conv_kernel"),
                *("norm2_beta", "norm2_gamma", "norm2_moving_mean", "norm2_moving_variance"),
                *("norm3_beta", "norm3_gamma", "norm3_moving_mean", "norm3_moving_variance"),
                *("norm_beta", "norm_gamma", "norm_moving_mean", "norm_moving_variance"),
            ],
        ),
        (LAYERS["cifar"], ["conv_kernel"]),
        (LAYERS["head"], ["norm_beta", "norm_gamma", "norm_moving_mean", "norm_moving_variance"]),
    ],
    ids=LAYERS,
)
def test_weights_have_stable_names(make, names):
    assert sorted(variable.name for variable in chain(make(), (8, 6, 3)).weights) == names


@pytest.mark.parametrize(("make", "size"), [(ImageNetStem, 7), (DeepStem, 3), (CifarStem, 3)])
def test_stem_kernels_start_as_he_normal_by_fan_out(make, size):
    layer = make(64)
    layer.build((None, 32, 32, 16))
    for kernel in (variable.numpy() for variable in layer.weights if variable.name.endswith("kernel")):
        assert kernel.std() == pytest.approx(np.sqrt(2 / (size * size * kernel.shape[-1])), rel=0.05)


@pytest.mark.parametrize("stem", [ImageNetStem, DeepStem, CifarStem])
@pytest.mark.parametrize("filters", [0, -4, 2.5, "8", None])
def test_wrong_filters_are_refused(stem, filters):
    with pytest.raises(ValueError, match=rf"^filters must be a whole number >= 1\. Received: filters={filters!r}$"):
        stem(filters)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_configuration_survives_a_round_trip(make):
    layer = make()
    config = {**layer.get_config(), "momentum": 0.8, "epsilon": 1e-3}
    again = type(layer).from_config(config)
    assert again.get_config() == config
    assert (again.momentum, again.epsilon) == (0.8, 1e-3)
