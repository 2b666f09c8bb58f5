"""The program that XLA would compile for a GPU, read without one: which operations it has, and how exact they are."""

import collections
import re

import keras
import pytest
import tensorflow as tf

from keras_densenet.layers import DenseBlock, Transition
from keras_densenet.ops import Target, compiled_for, resize

CHANNELS, GROWTH, LAYERS, PIXELS = 8, 4, 2, 3 * 6 * 5  # a batch of three images


def program_of(layer):
    """The StableHLO of a forward and backward pass for platform GPU, one string an operation."""
    model = keras.Sequential([keras.Input((6, 5, CHANNELS)), layer])

    def step(weights, others, images):
        with tf.GradientTape() as tape:
            tape.watch([*weights, images])
            features, others = model.stateless_call(weights, others, images, training=True)
            loss = tf.reduce_sum(features)
        return [*others, *tape.gradient(loss, [*weights, images])]

    variables = model.trainable_variables, model.non_trainable_variables
    inputs = [[tf.convert_to_tensor(variable) for variable in kind] for kind in variables]
    with compiled_for(Target(xla=True, device="GPU")):
        compiled = tf.function(step, jit_compile=True, autograph=False)
        program = compiled.experimental_get_compiler_ir(*inputs, tf.zeros((3, 6, 5, CHANNELS)))
    return program(stage="stablehlo", platform_name="GPU").splitlines()


@pytest.fixture(scope="module", params=["float32", "mixed_bfloat16"])
def block(request):
    keras.config.set_dtype_policy(request.param)
    return program_of(DenseBlock(LAYERS, GROWTH))


@pytest.fixture(scope="module")
def plain_block():
    return program_of(DenseBlock(LAYERS, GROWTH, bottleneck=False))


def operations(program, name):
    return [line for line in program if f"stablehlo.{name}" in line]


def shapes(line):
    """The sizes of all tensors in an operation's type, without the images' batch, height and width."""
    return re.findall(r"tensor<([\dx]+)x\w+>", line.rpartition(" : ")[2])


FORWARD, INPUT, KERNEL = (
    "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]",
    "[b, 0, 1, f]x[0, 1, o, i]->[b, 0, 1, f]",
    "[f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f]",
)


def test_convolutions_and_their_gradients_are_the_plain_ones_that_cudnn_knows(block, plain_block):
    for program in (block, plain_block):
        found = [line.split("dim_numbers = ")[1].split(", window")[0] for line in operations(program, "convolution(")]
        assert collections.Counter(found) == {FORWARD: LAYERS, INPUT: LAYERS, KERNEL: LAYERS}


def test_products_are_those_of_the_1x1_convolutions_and_no_sum_or_transposition_is_one(block, plain_block):
    width, found = 4 * GROWTH, collections.Counter()
    for line in operations(block, "dot"):
        found[shapes(line)[-1]] += 1
    expected = collections.Counter({f"{PIXELS}x{width}": LAYERS})  # forward
    for channels in (CHANNELS, CHANNELS + GROWTH):
        expected.update([f"{PIXELS}x{channels}", f"{channels}x{width}"])  # gradients of input and kernel
    assert found == expected
    assert operations(plain_block, "dot") == []


def test_nothing_of_the_size_of_the_features_is_transposed(block, plain_block):
    for line in (*operations(block, "transpose"), *operations(plain_block, "transpose")):
        assert re.search(r"dims = \[0, 1(, 2, 3)?\]", line), line  # TensorFlow writes transpositions that are none


def test_there_is_no_loop_over_slices(block, plain_block):
    assert operations(block, "while") == operations(plain_block, "while") == []


def test_sums_over_pixels_are_float32(block):
    sums = [line for line in operations(block, "reduce(") if "dimensions = [0, 1, 2]" in line]
    assert sums
    assert all("bf16" not in line for line in sums)


def test_the_statistics_of_a_tensor_do_not_wait_for_its_mean(plain_block):
    """All sums over the newest features read nothing that is made of another sum over all images."""
    reduced = [line for line in operations(plain_block, "reduce(") if "dimensions = [0, 1, 2]" in line]
    whole = [line for line in reduced if f"tensor<3x6x5x{GROWTH}xf32>" in line]
    assert len(whole) == 2  # of x and of its square; the last layer's features have no reader


def test_sixteen_bit_features_are_kept_in_sixteen_bits():
    keras.config.set_dtype_policy("mixed_bfloat16")
    program = program_of(DenseBlock(LAYERS, GROWTH))
    features = f"tensor<3x6x5x{CHANNELS + LAYERS * GROWTH}x"
    for name in ("dynamic_update_slice", "concatenate", "optimization_barrier"):
        assert not [line for line in operations(program, name) if f"{features}f32>" in line]


def test_the_transition_pools_before_its_product():
    program = program_of(Transition())
    assert operations(program, "convolution(") == []
    assert len(operations(program, "dot")) == 3
    assert not [line for line in operations(program, "dot") if f"{PIXELS}x" in line]


def test_pixels_are_resized_without_rounding_them_to_ten_bits():
    with compiled_for(Target(xla=True, device="GPU")):
        compiled = tf.function(lambda images: resize(images, 4, 5, "bicubic"), jit_compile=True, autograph=False)
        program = compiled.experimental_get_compiler_ir(tf.zeros((1, 9, 8, 3)))
    dots = operations(program(stage="stablehlo", platform_name="GPU").splitlines(), "dot")
    assert len(dots) == 2
    assert all("f64>) -> " in dot for dot in dots)
