"""What checkpoints call their tensors out there: found by what the names have in common, none of it in silence."""

import re

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import keras_densenet as kd
from tests.oracle import randomise
from tests.weights import foreign

OPTIMIZER = {"optimizer.state.0.exp_avg": np.ones((8, 3, 7, 7), "float32"), "optimizer.state.0.step": np.float32(3)}


def behind(prefix, classifier="classifier"):
    return lambda name: prefix + re.sub("^classifier", classifier, name)


def monai(name):
    name = re.sub(r"(denselayer\d+)\.", r"\1.layers.", name)
    return "net." + name.replace("classifier", "class_layers.out")


def old(name):
    return "state_dict.module.densenet121." + re.sub(r"\.(norm|conv)([12])\.", r".\1.\2.", name)


def sequential(name):
    """`nn.Sequential(model.features, ...)` as a backbone, with a head beside it."""
    return name.replace("classifier", "head.1") if "classifier" in name else name.replace("features.", "backbone.0.")


FORMS = {
    "DataParallel": behind("module."),
    "a training script": behind("model_state_dict.module.model."),
    "CheXNet": lambda name: old(name).replace("classifier", "classifier.0"),
    "torchvision, dropout in the head": behind("", "classifier.1"),
    "torchvision, features alone": lambda name: name.removeprefix("features."),
    "RadImageNet": sequential,
    "MONAI": monai,
    "a head of another name": behind("ema.", "head.fc"),
    "all at once": lambda name: old(monai(name)).replace("features.", "").replace("class_layers", "fc"),
}


def tensors():
    return load_file(foreign.FIXTURES / "tiny_torchvision.safetensors")


def save(path, form, **others):
    renamed = {FORMS[form](name): values for name, values in tensors().items()}
    save_file({**renamed, **{name: np.asarray(values) for name, values in others.items()}}, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_outputs_of_the_network_that_wrote_it(form, tmp_path):
    path = save(tmp_path / "a.safetensors", form, **OPTIMIZER, epoch=np.int64(3))
    images, logits = foreign.fixture("tiny_torchvision")
    model = foreign.ours(weights=path)
    np.testing.assert_allclose(model(images), logits, rtol=0, atol=1e-5)
    headless = foreign.ours(include_top=False, pooling="avg", weights=path)
    expected = keras.Model(model.input, model.layers[-2].output)
    np.testing.assert_array_equal(headless(images), expected(images))
    assert headless.reset_classifier(3).output_shape == (None, 3)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("missing", ["features.denseblock1.denselayer2.conv1.weight", "features.norm5.bias"])
def test_a_missing_tensor_is_named_as_the_file_would(form, missing, tmp_path):
    path = save(tmp_path / "a.safetensors", form)
    stored = load_file(path)
    save_file({name: values for name, values in stored.items() if name != FORMS[form](missing)}, path)
    with pytest.raises(ValueError, match=rf"needs {re.escape(FORMS[form](missing))} .*no such tensor") as error:
        foreign.ours(weights=path)
    foreign.one_sentence(error, path)


@pytest.mark.parametrize("form", FORMS)
def test_a_tensor_that_is_left_over_is_named(form, tmp_path):
    extra = FORMS[form]("features.denseblock1.denselayer3.conv1.weight")
    path = save(tmp_path / "a.safetensors", form, **{extra: np.zeros((16, 16, 1, 1), "float32")})
    for options in ({}, {"include_top": False}):
        with pytest.raises(ValueError, match=rf"has no {re.escape(extra)}"):
            foreign.ours(weights=path, **options)


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ({"classifier.3.weight": (5, 5), "classifier.3.bias": (5,)}, r"this one has no classifier\.3\.(weight|bias)"),
        ({"temperature.weight": (1,)}, r"this one has no temperature\.weight"),
        ({"aux.weight": (2, 12), "aux.bias": (2,)}, r"2 layers that may be the classifier, .*include_top=False"),
    ],
    ids=["a second layer in the head", "a layer of another kind", "a second head"],
)
def test_what_else_stands_behind_the_network_is_named_and_left_alone_without_classifier(others, sentence, tmp_path):
    others = {name: np.ones(shape, "float32") for name, shape in others.items()}
    path = save(tmp_path / "a.safetensors", "torchvision, dropout in the head", **others)
    with pytest.raises(ValueError, match=sentence):
        foreign.ours(weights=path)
    foreign.ours(include_top=False, weights=path)


def test_a_buffer_of_torchxrayvision_and_counted_batches_are_nobodys(tmp_path):
    stored = {**tensors(), "op_threshs": np.ones(5, "float32"), "features.norm0.num_batches_tracked": np.array(4)}
    save_file(stored, tmp_path / "a.safetensors")
    assert kd.load_weights(foreign.ours(), tmp_path / "a.safetensors") == []


def test_what_stands_beside_the_entry_of_the_network_is_nobodys_but_a_second_head_is_not(tmp_path):
    weights = {"class_weights": np.ones(5, "float32")}
    foreign.ours(weights=save(tmp_path / "a.safetensors", "a training script", **weights))
    head = {"head.weight": np.ones((2, 12), "float32"), "head.bias": np.ones(2, "float32")}
    path = save(tmp_path / "b.safetensors", "a training script", **head)
    with pytest.raises(ValueError, match=r"this one has no head\.(weight|bias), head\."):
        foreign.ours(weights=path)


def test_the_network_and_its_average_are_two_and_each_has_its_own_head(tmp_path):
    stored = {}
    for number, scope in enumerate(("model", "ema")):
        stored |= {f"{scope}.{sequential(name)}": np.asarray(values + number) for name, values in tensors().items()}
    save_file(stored, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"2 networks, '(model|ema)\.backbone\.0' and '(model|ema)\.backbone\.0'"):
        foreign.ours(weights=tmp_path / "a.safetensors")
    model = foreign.ours()
    kd.load_weights(model, tmp_path / "a.safetensors", network="model.backbone.0")
    bias = np.asarray(model.stages["classifier"].bias)
    kd.load_weights(model, tmp_path / "a.safetensors", network="ema.backbone.0")
    np.testing.assert_allclose(model.stages["classifier"].bias, bias + 1)


@pytest.fixture(scope="module")
def nested():
    """A backbone of keras.applications inside another model, and that model."""
    backbone = randomise(foreign.applications())
    backbone = keras.Model(backbone.input, backbone.layers[-2].output, name="densenet121")
    image = keras.Input((None, None, 3))
    return backbone, keras.Model(image, keras.layers.Dense(5, name="findings")(backbone(image)))


@pytest.mark.parametrize("ending", [".h5", ".weights.h5", ".keras"])
def test_a_nested_backbone_of_keras_has_its_classifier_outside(nested, ending, tmp_path):
    path, whole = tmp_path / f"a{ending}", nested[1]
    foreign.save_legacy(whole, path) if ending == ".h5" else (
        whole.save(path) if ending == ".keras" else whole.save_weights(path)
    )
    assert foreign.difference(foreign.ours(weights=path), whole, foreign.images()) < 1e-5
    headless = foreign.ours(include_top=False, pooling="avg", weights=path)
    assert foreign.difference(headless, nested[0], foreign.images()) < 1e-5


def test_a_nested_backbone_of_keras_2_has_its_old_names(nested, tmp_path):
    backbone, whole = nested
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = np.array(["densenet121", "dense"], "S")
        for layer in (layer for layer in backbone.layers if layer.weights):
            name = re.sub("^conv1_", "conv1/", layer.name)
            for variable in layer.weights:
                file[f"densenet121/{name}/{variable.name}:0"] = variable.numpy()
        for variable in whole.layers[-1].weights:
            file[f"dense/dense/{variable.name}:0"] = variable.numpy()
    assert foreign.difference(foreign.ours(weights=tmp_path / "old.h5"), whole, foreign.images()) < 1e-5


def test_our_own_backbone_has_its_classifier_under_any_name(tmp_path):
    backbone = randomise(foreign.ours(include_top=False, pooling="avg", name="net"))
    image = keras.Input((None, None, 3))
    whole = keras.Model(image, keras.layers.Dense(5, name="findings")(backbone(image)))
    whole.save(tmp_path / "a.keras")
    assert foreign.difference(foreign.ours(weights=tmp_path / "a.keras"), whole, foreign.images()) < 1e-5
