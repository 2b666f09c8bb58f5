import keras
import numpy as np
import pytest

from keras_densenet.training.optimizer import PaperSGD


def _torch_steps(weight, gradients, rates, momentum, decay):
    """Torch's `optim.SGD(nesterov=True)`, written out."""
    weight, velocity = weight.astype("float64"), 0.0
    for gradient, rate in zip(gradients, rates, strict=True):
        gradient = gradient + decay * weight
        velocity = momentum * velocity + gradient
        weight = weight - rate * (gradient + momentum * velocity)
    return weight


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_steps_equal_torchs_also_where_the_learning_rate_falls(momentum):
    random = np.random.default_rng(0)
    start, gradients = random.normal(size=(5,)), random.normal(size=(4, 5))
    rates = [0.1, 0.1, 0.01, 0.001]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1, 2], rates[1:])
    optimizer, weight = PaperSGD(schedule, momentum, decay=0.02), keras.Variable(start)
    for gradient in gradients.astype("float32"):
        optimizer.apply([gradient], [weight])
    np.testing.assert_allclose(weight.numpy(), _torch_steps(start, gradients, rates, momentum, 0.02), rtol=1e-5)


def test_every_trainable_weight_decays():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
    before = [variable.numpy() + 1 for variable in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, before, strict=True):
        variable.assign(value)
    optimizer = PaperSGD(0.1, momentum=0.0, decay=0.5)
    optimizer.apply([np.zeros_like(value) for value in before], model.trainable_variables)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_allclose(variable.numpy(), 0.95 * value, rtol=1e-6)


def test_it_is_saved_with_its_settings():
    config = keras.optimizers.serialize(PaperSGD(0.2, 0.8, 0.003, use_ema=True, ema_momentum=0.9))
    again = keras.optimizers.deserialize(config)
    assert (again.momentum, again.decay, again.ema_momentum) == (0.8, 0.003, 0.9)
