"""The family by name: every published network is there, and what is built counts what was published."""

import inspect
import math

import keras
import pytest

import keras_densenet as kd
from tests.tiny import ROWS

CONSTRUCTORS = {
    constructor.__name__.lower(): constructor
    for constructor in (kd.DenseNet121, kd.DenseNet161, kd.DenseNet169, kd.DenseNet201, kd.DenseNet264)
}


def parameters(model):
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)


def test_every_published_network_is_listed_once():
    names = kd.list_models()
    assert len(names) == len(set(names))
    assert set(names) == {name.split()[0] for name in ROWS}


@pytest.mark.slow
@pytest.mark.parametrize("name", kd.list_models())
def test_built_network_counts_the_published_parameters(name):
    row = ROWS.get(name) or ROWS[f"{name} 10"]
    model = CONSTRUCTORS[name]() if name in CONSTRUCTORS else kd.create_model(name)
    assert model.name == name.replace("-", "_")
    assert model.input_shape == (None, *row["input"])
    assert model.output_shape == (None, row["classes"])
    assert parameters(model) == row["trainable"] == kd.cost(model).trainable_parameters
    blocks = [layer for layer in model.layers if isinstance(layer, kd.layers.DenseBlock)]
    assert [block.output.shape[-1] for block in blocks] == row["block_channels"]
    assert [block.bottleneck for block in blocks] == [row["bottleneck"]] * len(blocks)
    statistics = [variable for variable in model.non_trainable_variables if "moving" in variable.name]
    assert len(statistics) == len(model.non_trainable_variables)


@pytest.mark.parametrize("constructor", CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_constructor_takes_the_arguments_of_keras_applications(constructor):
    ours = inspect.signature(constructor).parameters
    theirs = inspect.signature(keras.applications.DenseNet121).parameters
    assert list(ours) == [*theirs, "dtype"]
    same = ("include_top", "input_tensor", "input_shape", "pooling", "classes", "classifier_activation")
    assert {key: ours[key].default for key in same} == {key: theirs[key].default for key in same}
    assert ours["name"].default == constructor.__name__.lower()
    assert ours["weights"].default is None  # nothing is downloaded


def test_constructor_names_itself_where_an_argument_is_unknown_and_has_a_line_of_its_own():
    with pytest.raises(TypeError, match=r"^DenseNet169\(\) got an unexpected keyword argument 'clases'$"):
        kd.DenseNet169(clases=2)
    assert kd.DenseNet169.__name__ == "DenseNet169"
    assert kd.DenseNet169.__doc__.startswith("DenseNet-169: blocks of (6, 12, 32, 32), k = 32.")
    assert inspect.signature(kd.DenseNet169).return_annotation is kd.DenseNetModel


def test_constructor_passes_its_arguments_on():
    model = kd.DenseNet121(include_top=False, pooling="max", input_shape=(64, 32, 1), name="mine")
    assert (model.name, model.input_shape, model.output_shape) == ("mine", (None, 64, 32, 1), (None, 1024))
    assert parameters(model) == ROWS["densenet121"]["trainable_no_top"] - 2 * 49 * 64
    assert isinstance(model.layers[-1], keras.layers.GlobalMaxPooling2D)


def test_arguments_override_the_published_ones():
    model = kd.create_model("densenet-bc-40-12", classes=100, input_shape=(28, 28, 1), dropout_rate=0.2, name="mine")
    assert (model.name, model.input_shape, model.output_shape) == ("mine", (None, 28, 28, 1), (None, 100))
    assert model.architecture.dropout_rate == 0.2
    headless = kd.create_model("densenet-bc-40-12", include_top=False)
    assert (headless.input_shape, headless.output_shape) == ((None, None, None, 3), (None, None, None, 132))
    tensor = keras.Input((40, 40, 2))
    assert kd.create_model("densenet-bc-40-12", input_tensor=tensor).input_shape == (None, 40, 40, 2)


def test_none_as_the_image_size_means_the_published_one():
    assert kd.create_model("densenet-40-12", input_shape=None).input_shape == (None, 32, 32, 3)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("densenet-bc-100-21", "densenet-bc-100-12"), ("DenseNet121", "densenet121"), ("densnet169", "densenet169")],
)
def test_unknown_name_is_refused_with_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=rf"^Unknown model\. Received: '{name}'\. Did you mean {nearest}\b.*\?$"):
        kd.create_model(name)


def test_name_like_no_other_is_refused_with_where_to_look():
    with pytest.raises(
        ValueError, match=r"^Unknown model\. Received: 'vgg'\. list_models\(\) \(keras-densenet models\) has all\.$"
    ):
        kd.create_model("vgg")


@pytest.mark.parametrize("given", [{"depth": 100}, {"blocks": (1, 2)}])
def test_depth_of_a_named_network_cannot_be_changed(given):
    with pytest.raises(ValueError, match=r"^densenet-40-12 has a depth of its own"):
        kd.create_model("densenet-40-12", **given)
