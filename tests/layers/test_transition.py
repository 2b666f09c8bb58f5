"""The transition against BN - ReLU - 1x1 convolution - 2x2 average pool of Keras' own layers."""

import keras
import numpy as np
import pytest

from keras_densenet.layers import Transition
from tests import oracle


def chain(theta=0.5, shape=(6, 4, 5)):
    return oracle.randomise(keras.Sequential([keras.Input(shape), Transition(theta, name="transition1")]))


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("size", [(6, 4), (7, 5), (2, 3)])
@pytest.mark.usefixtures("float64")
def test_pooling_first_equals_pooling_last(size, training):
    images = oracle.images_like((2, *size, 5))
    oracle.assert_equal_step(chain(shape=images.shape[1:]), images, training)


@pytest.mark.usefixtures("float64")
def test_frozen_transition_keeps_its_statistics_and_passes_the_right_gradient():
    model = chain()
    model.layers[0].trainable = False
    before = [variable.numpy() for variable in model.weights]
    oracle.assert_equal_step(model, oracle.images_like((2, 6, 4, 5)), training=True)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize(
    ("theta", "channels", "kept"),
    [(0.5, 5, 2), (0.5, 6, 3), (1, 7, 7), (1.0, 7, 7), (0.1, 30, 3), (0.7, 10, 7), (0.29, 100, 29), (0.999, 10, 9)],
)
def test_theta_keeps_the_floor_of_its_share_of_the_channels(theta, channels, kept):
    layer = Transition(theta)
    assert layer(np.zeros((1, 2, 2, channels), "float32")).shape[-1] == kept
    assert layer.compute_output_shape((None, None, 5, channels)) == (None, None, 2, kept)


def test_weights_have_stable_names():
    names = {variable.name for variable in chain().weights}
    assert names == {"norm_gamma", "norm_beta", "norm_moving_mean", "norm_moving_variance", "conv_kernel"}


def test_configuration_survives_a_round_trip():
    options = {"theta": 0.3, "dropout_rate": 0.1, "momentum": 0.8, "epsilon": 1e-3, "seed": 4, "name": "t"}
    layer = Transition(**options)
    again = Transition.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert all(getattr(again, key) == value for key, value in options.items())


@pytest.mark.parametrize("theta", [0, -0.5, 1.5, float("nan"), "0.5", None])
def test_theta_outside_its_range_is_refused(theta):
    with pytest.raises(ValueError, match=rf"^theta must be in \(0, 1\]\. Received: theta={theta!r}$"):
        Transition(theta)


def test_theta_that_leaves_no_channel_is_refused():
    with pytest.raises(ValueError, match=r"at least one channel.*theta=0.1, which keeps 0 of 5 channels$"):
        Transition(0.1).build((None, 4, 4, 5))


def test_image_without_two_pixels_is_refused():
    with pytest.raises(ValueError, match=r"too small for the 2x2 pool of layer 'transition1'.*Received: 1x4 pixels"):
        Transition(name="transition1")(keras.Input((1, 4, 5)))
