"""What Keras and TensorFlow ask of any layer: their own checks, and that every variable is known to both."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.testing import TestCase

from keras_densenet import layers

LAYERS = {
    "CifarStem": {"filters": 4},
    "ImageNetStem": {"filters": 4},
    "DeepStem": {"filters": 4},
    "StemPool": {},
    "BlurPool": {},
    "DenseBlock": {"num_layers": 2, "growth_rate": 2, "dropout_rate": 0.2, "seed": 1},
    "Transition": {"theta": 0.5, "dropout_rate": 0.2, "seed": 1},
    "Head": {},
    "Preprocess": {"mode": "unit", "size": 6},
    "FoldedImageNetStem": {"filters": 4},
    "FoldedDeepStem": {"filters": 4},
    "FoldedDenseBlock": {"num_layers": 2, "growth_rate": 2},
    "FoldedTransition": {"theta": 0.5},
    "FoldedHead": {},
}
SHAPE = (2, 9, 8, 3)
each_layer = pytest.mark.parametrize("name", LAYERS)
with_weights = pytest.mark.parametrize("name", sorted(LAYERS.keys() - {"StemPool", "BlurPool", "Preprocess"}))


def layer_of(name, **options):
    return getattr(layers, name)(**LAYERS[name], **options)


def built(name, seed=0):
    """A layer with variables of its own values, the state of its dropout included."""
    layer = layer_of(name)
    layer.build(SHAPE)
    rng = np.random.default_rng(seed)
    for variable in layer.variables:
        variable.assign(rng.integers(1, 99, variable.shape))
    return layer


def values(layer):
    return {variable.path.split("/")[-1]: variable.numpy() for variable in layer.variables}


def test_every_layer_is_checked_here():
    assert LAYERS.keys() == set(layers.__all__)


@pytest.mark.slow
@each_layer
def test_keras_own_test_of_a_layer_passes(name):
    trains = bool(built(name).trainable_variables)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`shuffle=True` was passed")  # by that test
        TestCase().run_layer_test(
            getattr(layers, name),
            LAYERS[name],
            input_shape=SHAPE,
            expected_output_shape=layer_of(name).compute_output_shape(SHAPE),
            run_training_check=trains,
            supports_masking=False,
            run_mixed_precision_check=name != "Preprocess",  # which computes in float32 under every policy
        )


@each_layer
def test_tensorflow_tracks_every_variable(name):
    layer = built(name)
    reached, front = set(), [layer]
    while front:
        node = front.pop()
        if id(node) not in reached:
            reached.add(id(node))
            front.extend(node._trackable_children().values())
    assert {v.path for v in layer.variables if not {id(v), id(v.value)} & reached} == set()


@pytest.mark.slow
@with_weights
@pytest.mark.parametrize("moment", ["built", "not yet built"])
def test_a_checkpoint_of_tensorflow_brings_every_variable_back(name, moment, tmp_path):
    layer, other = built(name), built(name, 1) if moment == "built" else layer_of(name)
    path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "checkpoint"))
    status = tf.train.Checkpoint(layer=other).read(path)
    other.build(SHAPE) if moment != "built" else None
    status.assert_existing_objects_matched().assert_consumed()
    expected, found = values(layer), values(other)
    assert expected.keys() == found.keys()
    for variable, value in expected.items():
        np.testing.assert_array_equal(found[variable], value, err_msg=variable)


@with_weights
def test_the_state_of_dropout_is_no_weight(name):
    assert not [weight.path for weight in built(name).weights if "seed" in weight.path]


@pytest.mark.slow
@each_layer
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_integers_give_what_floats_give(name, dtype):
    layer = layer_of(name)
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE).astype(dtype)
    expected = layer(pixels.astype("float32"))
    np.testing.assert_array_equal(layer(pixels), expected)
    symbolic = layer(keras.Input(SHAPE[1:], dtype=dtype))
    assert symbolic.shape[1:] == expected.shape[1:]
    if name != "StemPool":  # which, as `MaxPooling2D`, passes on what it gets
        assert symbolic.dtype == layer(pixels).dtype == "float32"


@pytest.mark.parametrize("name", sorted(LAYERS.keys() - {"Preprocess"}))
def test_another_rank_is_refused_as_keras_own_layers_do(name):
    with pytest.raises(ValueError, match=r"incompatible with the layer: expected (min_)?ndim=\d, found ndim=2"):
        layer_of(name)(np.zeros((9, 3), "float32"))
    if (layer := built(name)).weights:  # which have a rank
        with pytest.raises(ValueError, match=r"incompatible with the layer: expected ndim=4, found ndim=3"):
            layer(np.zeros((9, 8, 3), "float32"))


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "xla"])
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("name", sorted(LAYERS.keys() - {"Preprocess"}))
def test_an_empty_batch_gives_an_empty_batch_and_moves_nothing(name, training, compiled):
    layer = built(name)
    before, images = values(layer), np.zeros((0, *SHAPE[1:]), "float32")
    run = tf.function(layer, jit_compile=True) if compiled else layer
    assert run(images, training=training).shape == layer.compute_output_shape(images.shape)
    for variable, value in values(layer).items():
        np.testing.assert_array_equal(value, before[variable], err_msg=variable)
