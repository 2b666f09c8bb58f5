"""What is saved comes back, in a fresh process too: .keras, weights files, clones and configurations."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_densenet as kd
from tests.oracle import images_like, randomise
from tests.tiny import KINDS, STEMS, network, run_fresh

IMAGES = images_like((2, 9, 8, 3), "float32")

LOAD_AND_PREDICT = """
import sys
import numpy as np, keras, keras_densenet
folder = sys.argv[1]
images = np.load(folder + "/images.npy")
outputs = {}
for name in sys.argv[2:]:
    model = keras.models.load_model(f"{folder}/{name}.keras")
    outputs[name] = model(images)
    assert name == "pyramid" or isinstance(model, keras_densenet.DenseNetModel), type(model)
    assert name == "pyramid" or model.pyramid_outputs.keys() == {"P0", "P1"}
outputs["pyramid"] = outputs["pyramid"]["P1"]
rebuilt = keras_densenet.DenseNet(
    blocks=(2, 1), growth_rate=3, stem="cifar", input_shape=(9, 8, 3), classes=5, weights=folder + "/BC.weights.h5"
)
outputs["weights"] = rebuilt(images)
np.savez(folder + "/outputs.npz", **outputs)
"""


@pytest.mark.slow
def test_fresh_process_loads_every_kind_and_gives_the_same_outputs(tmp_path):
    models = {kind: randomise(network(kind, dropout_rate=0.1)) for kind in ("plain", "B", "C")}
    models["BC"] = randomise(network())
    models["trained"] = network(classifier_activation=None)
    models["trained"].compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    models["trained"].train_on_batch(IMAGES, np.array([1, 2]))
    expected = {name: model(IMAGES) for name, model in models.items()}
    models["pyramid"] = kd.feature_pyramid(models["BC"])
    expected["pyramid"] = models["pyramid"](IMAGES)["P1"]
    expected["weights"] = expected["BC"]
    np.save(tmp_path / "images.npy", IMAGES)
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    models["BC"].save_weights(tmp_path / "BC.weights.h5")
    run_fresh(LOAD_AND_PREDICT, tmp_path, *models)
    outputs = np.load(tmp_path / "outputs.npz")
    assert set(outputs.files) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(outputs[name], values, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["as it is", "compiled", "folded", "with preprocessing", "pyramid", "inside another model"]
)
def test_a_legacy_file_of_keras_loads_too(kind, tmp_path):
    model = randomise(network())
    if kind == "compiled":
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.train_on_batch(IMAGES, np.array([1, 2]))
    elif kind == "inside another model":
        model = keras.Sequential([keras.Input((9, 8, 3)), model])
    elif kind == "pyramid":
        model = kd.feature_pyramid(model)
    elif kind != "as it is":
        model = kd.fold(model) if kind == "folded" else model.with_preprocessing("torch")
    model.save(tmp_path / "model.h5")
    again = keras.models.load_model(tmp_path / "model.h5")
    assert isinstance(again, kd.DenseNetModel) == isinstance(model, kd.DenseNetModel)
    tf.nest.map_structure(np.testing.assert_array_equal, again(IMAGES), model(IMAGES))


@pytest.mark.parametrize(
    ("stem", "layers"), [("imagenet", ("ImageNetStem", "StemPool")), ("deep", ("DeepStem", "BlurPool"))]
)
def test_saved_model_holds_only_registered_layers(stem, layers, tmp_path):
    model = randomise(network(stem=stem))
    model.save(tmp_path / "model.keras")
    images = images_like((2, *model.input_shape[1:]), "float32")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(images), model(images))
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = archive.read("config.json").decode()
    assert "Lambda" not in config
    for name in ("DenseNetModel", *layers, "DenseBlock", "Transition", "Head"):
        assert f'"registered_name": "keras_densenet>{name}"' in config


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stem", STEMS)
def test_configuration_and_weights_rebuild_the_network(kind, stem):
    model = randomise(network(kind, stem, dropout_rate=0.1))
    images = images_like((2, *model.input_shape[1:]), "float32")
    for again in (keras.models.clone_model(model), type(model).from_config(model.get_config())):
        assert isinstance(again, kd.DenseNetModel)
        assert again.architecture == model.architecture
        assert not {id(v) for v in again.weights} & {id(v) for v in model.weights}
        again.set_weights(model.get_weights())
        np.testing.assert_array_equal(again(images), model(images))


def test_preprocessing_in_front_is_saved_with_the_network(tmp_path):
    x = keras.layers.Rescaling(1 / 255)(keras.Input((9, 8, 3)))
    model = network(input_tensor=x, input_shape=None)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(IMAGES * 255), model(IMAGES * 255))


def test_frozen_layers_and_precision_are_saved(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = network()
    model.get_layer("block1").trainable = False
    model.save(tmp_path / "model.keras")
    keras.config.set_dtype_policy("float32")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_layer("block1").trainable is False
    assert again.get_layer("block2").compute_dtype == "bfloat16"
    np.testing.assert_array_equal(again(IMAGES), model(IMAGES))


@pytest.mark.slow
def test_training_goes_on_where_it_was_saved(tmp_path):
    """Optimizer state included: the next step of the loaded network is the next step of the saved one."""
    model = network(blocks=(1, 1))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    labels = np.array([1, 2])
    model.train_on_batch(IMAGES, labels)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for _ in range(2):
        assert again.train_on_batch(IMAGES, labels) == pytest.approx(model.train_on_batch(IMAGES, labels), rel=1e-5)


@pytest.mark.parametrize("folded", [False, True], ids=["as it is", "folded"])
def test_a_checkpoint_of_tensorflow_holds_the_whole_network(folded, tmp_path):
    make = kd.fold if folded else lambda model: model
    model, other = (make(randomise(network(stem="imagenet", dropout_rate=0.1), seed)) for seed in (1, 2))
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    status = tf.train.Checkpoint(model=other).read(path)
    status.assert_existing_objects_matched().assert_consumed()
    for found, expected in zip(other.variables, model.variables, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=expected.path)


@pytest.mark.slow
def test_a_loop_of_ones_own_goes_on_from_its_checkpoint_manager(tmp_path):
    """Dropout included: the next losses of the restored network are those of the one that went on."""
    labels, loss = tf.constant([1, 2]), keras.losses.SparseCategoricalCrossentropy()

    def start():
        model, optimizer = network(blocks=(1, 1), dropout_rate=0.3), keras.optimizers.SGD(0.1, momentum=0.9)
        optimizer.build(model.trainable_variables)
        checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
        return model, optimizer, tf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=1)

    def step(model, optimizer, _):
        with tf.GradientTape() as tape:
            value = loss(labels, model(IMAGES, training=True))
        gradients = tape.gradient(value, [variable.value for variable in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)
        return float(value)

    first = start()
    step(*first)
    first[2].save()
    second = start()
    assert second[2].restore_or_initialize()
    assert [step(*second) for _ in range(3)] == pytest.approx([step(*first) for _ in range(3)], rel=1e-5)


@pytest.mark.slow
def test_a_saved_model_of_tensorflow_holds_every_variable_once(tmp_path):
    model = randomise(network(dropout_rate=0.1))
    tf.saved_model.save(model, str(tmp_path))
    stored = tf.train.load_checkpoint(str(tmp_path / "variables" / "variables")).get_variable_to_shape_map()
    assert sum(name.endswith("VARIABLE_VALUE") for name in stored) == len(model.variables)
    serve = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    np.testing.assert_allclose(serve(tf.constant(IMAGES))["output_0"], model(IMAGES), rtol=1e-5)


def test_other_image_size_takes_the_same_weights():
    model = randomise(network())
    other = network(input_shape=(None, None, 3))
    other.set_weights(model.get_weights())
    np.testing.assert_allclose(other(IMAGES), model(IMAGES), rtol=1e-6)
