"""A batch that XLA on a CPU works on slice by slice: how large these are, and that the mathematics is the same."""

import contextlib

import keras
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_densenet.layers import DenseBlock
from keras_densenet.ops import Target, compiled_for, slices
from tests import oracle

SMALL = 512  # numbers in cache


@contextlib.contextmanager
def cache_of(numbers):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "_NUMBERS", numbers)
        yield


@pytest.fixture(scope="module")
def small_cache():
    with cache_of(SMALL):
        yield


def images_in_a_slice(shape, batch):
    """For a tensor of which `batch` images, None for any number, are known while tracing."""
    found = []

    @tf.function(input_signature=[tf.TensorSpec((batch, *shape[1:]))], autograph=False)
    def run(x):
        found.append(slices.images_in_a_slice(x))
        return tf.shape(x)[0] if found[0] is None else found[0]

    return int(run(tf.ones(shape))), found[0] is None


@pytest.mark.usefixtures("small_cache")
@settings(max_examples=30, deadline=None, derandomize=True)
@given(shape=st.tuples(*[st.integers(1, most) for most in (30, 8, 8, 40)]))
@example(shape=(8, 3, 1, 64))  # three slices would do, and take longer
@example(shape=(7, 2, 2, 100))  # five would, but seven images have no equal ones
@example(shape=(2, 8, 8, 40))
@example(shape=(12, 4, 4, 600))
def test_slices_are_equal_and_fill_the_cache_or_else_there_is_no_loop(shape):
    (batch, *window, channels), (images, whole) = shape, images_in_a_slice(shape, shape[0])
    assert images_in_a_slice(shape, None) == (images, False)
    assert whole == (images == batch)
    assert batch % images == 0
    assert whole or images * window[0] * window[1] >= SMALL // channels


@pytest.mark.slow
@pytest.mark.usefixtures("float64", "small_cache")
@pytest.mark.parametrize(
    ("shape", "options"),
    [((5, 4, 6), {}), ((5, 4, 6), {"bottleneck": False}), ((3, 5, 4, 2), {}), ((5, 4, 6), {"trainable": False})],
    ids=["bottleneck", "plain", "volume", "frozen"],
)
def test_a_batch_in_slices_equals_the_plain_composition(shape, options):
    """The second batch makes a program for batches of any size."""
    model = oracle.randomise(keras.Sequential([keras.Input(shape), DenseBlock(2, 4, name="block1", **options)]))
    batches = [oracle.images_like((images, *shape), seed=images) for images in (12, 15, 4)]
    for images in batches[:2]:
        assert slices.images_in_a_slice(tf.zeros((*images.shape[:-1], model.output_shape[-1]))) in (1, 2, 3, 4, 5)
    with compiled_for(Target(xla=True, device="CPU")):
        oracle.assert_equal_steps(model, batches, jit_compile=True)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("bottleneck", [True, False], ids=["bottleneck", "plain"])
def test_what_dropout_drops_is_the_same_with_and_without_slices(bottleneck):
    block, found = DenseBlock(2, 4, bottleneck, dropout_rate=0.3, seed=5), []
    model = oracle.randomise(keras.Sequential([keras.Input((5, 4, 6)), block]))
    images = oracle.images_like((12, 5, 4, 6))
    start = [weight.numpy() for weight in model.variables]
    for numbers in (SMALL, 10**6):
        with cache_of(numbers), compiled_for(Target(xla=True, device="CPU")):
            for weight, value in zip(model.variables, start, strict=True):
                weight.assign(value)
            found.append(oracle.step(model, images, jit_compile=True))
    tf.nest.map_structure(lambda a, b: oracle.assert_close(a, b, 1e-9, "step"), *found)
