"""Exports of models as people build them around a DenseNet, and of what ends in logits."""

import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet.cli import app
from keras_densenet.serving import NativeModel, check_saved_model, export_file
from tests.around import AROUND, SHAPE, pixels_for
from tests.oracle import randomise
from tests.tiny import network


def _ask(folder, pixels, signature="serving_default"):
    native = NativeModel(folder)
    found = native.run(signature, {"image": pixels})
    native.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("around", AROUND)
def test_a_model_with_a_densenet_in_it_is_served(around, tmp_path):
    model = AROUND[around]()
    pixels = pixels_for(model)
    expected = model(pixels, training=False)
    folder = kd.export_saved_model(model, tmp_path, "net")
    np.testing.assert_allclose(_ask(folder, pixels)["probabilities"], expected, atol=1e-5)
    signatures = check_saved_model(folder).signatures
    assert ("image_bytes" in signatures) == (model.input_shape[-1] in (1, 3))
    card = json.loads((folder / "model_card.json").read_text())
    assert card["activation"] == ("sigmoid" if around == "Activation" else "softmax")
    assert card["architecture"]["classes"] == 5
    np.testing.assert_array_equal(model(pixels, training=False), expected)


@pytest.mark.slow
@pytest.mark.parametrize("around", ["RandomFlip and Resizing", "nested twice"])
def test_what_is_not_folded_infers_too_and_leaves_the_statistics(around, tmp_path):
    model = AROUND[around]()
    pixels, statistics = pixels_for(model), [weight.numpy() for weight in model.non_trainable_weights]
    expected = model(pixels, training=False)
    folder = kd.export_saved_model(model, tmp_path, "net", folded=False)
    np.testing.assert_allclose(_ask(folder, pixels)["probabilities"], expected, atol=1e-5)
    for weight, value in zip(model.non_trainable_weights, statistics, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the converter's own
@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("around", ["RandomFlip and Resizing", "bytes", "5 channels"])
def test_a_file_for_another_runtime_is_written_of_it(around, folded, tmp_path):
    model = AROUND[around]()
    statistics = [weight.numpy() for weight in model.non_trainable_weights]
    _, deviation = export_file(model, tmp_path, "litert", folded=folded)
    assert deviation < 1e-4
    for weight, value in zip(model.non_trainable_weights, statistics, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["nothing", "tensor operations"])
def test_what_a_network_inside_is_known_to_need_is_put_in_front_unless_something_is(changed, tmp_path):
    backbone = randomise(network(include_top=False, pooling="avg"))
    backbone.preprocessing = "torch"
    image = keras.Input(SHAPE)
    x = image if changed == "nothing" else kd.preprocess_input(image, "torch")
    model = keras.Model(image, keras.layers.Dense(5, "softmax")(backbone(x)))
    pixels = pixels_for(model)
    expected = model(kd.preprocess_input(pixels, "torch") if changed == "nothing" else pixels)
    folder = kd.export_saved_model(model, tmp_path, "net")
    np.testing.assert_allclose(_ask(folder, pixels)["probabilities"], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Dense", "Rescaling behind it"])
def test_logits_become_what_is_said(kind, tmp_path):
    base = randomise(network(classifier_activation=None))
    model = base if kind == "Dense" else keras.Sequential([base, keras.layers.Rescaling(0.1)])
    pixels = pixels_for(model)
    for activation in ("softmax", "sigmoid"):
        found = _ask(kd.export_saved_model(model, tmp_path, "net", activation=activation), pixels)
        np.testing.assert_allclose(found["logits"], model(pixels), rtol=1e-4, atol=1e-4)
        expected = keras.activations.get(activation)(model(pixels))
        np.testing.assert_allclose(found["probabilities"], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"ends in logits of 5 classes: say .* softmax .* or sigmoid"):
        kd.export_saved_model(model, tmp_path, "net")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_file_gives_logits_unless_an_activation_is_given(tmp_path):
    from keras_densenet.serving.formats import _run_litert

    model = randomise(network(classifier_activation=None))
    pixels = pixels_for(model)
    for activation, expected in ((None, model(pixels)), ("sigmoid", keras.ops.sigmoid(model(pixels)))):
        path, _ = export_file(model, tmp_path, "litert", activation=activation)
        np.testing.assert_allclose(_run_litert(path, pixels), expected, rtol=1e-3, atol=1e-3)


def test_another_activation_than_the_models_own_and_an_unknown_one_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"for models that end in logits\. Received: activation='sigmoid' and .*softmax$"
    ):
        kd.export_saved_model(network(), tmp_path, activation="sigmoid")
    with pytest.raises(ValueError, match=r"^activation must be softmax or sigmoid\. Received: activation='relu'$"):
        kd.export_saved_model(network(classifier_activation=None), tmp_path, activation="relu")
    assert not list(tmp_path.iterdir())


def _two_heads():
    base = network()
    return keras.Model(base.input, {"kind": base.output, "age": keras.layers.Dense(1)(base.get_layer("pool").output)})


def _two_inputs():
    base, age = network(), keras.Input((1,))
    both = keras.ops.concatenate([base.get_layer("pool").output, age], -1)
    return keras.Model([base.input, age], keras.layers.Dense(2)(both))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_two_heads, r"one output: give keras\.Model\(model\.input, output\) for each .* with 2 outputs$"),
        (_two_inputs, "a model of one batch of images"),
        (lambda: keras.Sequential([keras.layers.Rescaling(1.0), network()]), "functional, or sequential and built"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(build, message, tmp_path):
    model = build()
    with pytest.raises(ValueError, match=message):
        kd.export_saved_model(model, tmp_path)
    with pytest.raises(ValueError, match=message):
        export_file(model, tmp_path, "litert")


@pytest.mark.slow
def test_the_command_takes_the_activation_and_says_what_is_wrong_in_a_line(tmp_path):
    network(classifier_activation=None).save(tmp_path / "logits.keras")
    _two_heads().save(tmp_path / "heads.keras")

    def export(file, *options):
        arguments = ["export", str(tmp_path / file), "--out", str(tmp_path / "served"), *options]
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "500"})

    refused = [export("logits.keras"), export("heads.keras")]
    assert [str(result.exception).split(":")[0] for result in refused] == [
        "'densenet' ends in logits of 5 classes",
        "Export takes a model with one output",
    ]
    done = export("logits.keras", "--activation", "sigmoid")
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "served/densenet/1/model_card.json").read_text())
    assert card["activation"] == "sigmoid"
