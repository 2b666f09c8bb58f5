"""Statistics shared by replicas: the gradient of a block on two devices is that of one device with the whole batch."""

import pytest

from tests.tiny import run_fresh

pytestmark = pytest.mark.slow

_TWO_DEVICES = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
keras.config.set_floatx("float64")
from keras_densenet import layers, ops
from tests.oracle import images_like, randomise
block = randomise(keras.Sequential([keras.Input((5, 5, 3)), layers.DenseBlock(2, 2)]))
images, upstream = (tf.constant(images_like((4, 5, 5, channels))) for channels in (3, 7))

def gradients(images, upstream):
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = tf.reduce_sum(block(images, training=True) * upstream)
    return tape.gradient(loss, [images, *(v.value for v in block.trainable_variables)])

one = gradients(images, upstream)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
ops.synchronise_statistics(strategy)

@tf.function
def run():
    def part():
        half = tf.distribute.get_replica_context().replica_id_in_sync_group
        return gradients(*(tf.reshape(t, (2, 2, *t.shape[1:]))[half] for t in (images, upstream)))
    return strategy.run(part)

two = [strategy.experimental_local_results(value) for value in run()]
two = [np.concatenate(two[0]), *(a + b for a, b in two[1:])]
print(max(np.abs(a - b).max() for a, b in zip(one, two)), max(np.abs(a).max() for a in one))
"""


def test_the_gradient_on_two_devices_is_that_of_one():
    difference, largest = map(float, run_fresh(_TWO_DEVICES).split())
    assert largest > 1
    assert difference < 1e-9
