import importlib.util
import platform

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_densenet.serving.formats import FILES, TOLERANCE, export_file
from tests import tiny

INSTALLED = [
    name for name, module in (("onnx", "tf2onnx"), ("openvino", "openvino")) if importlib.util.find_spec(module)
]


@pytest.fixture(scope="module")
def model():
    return tiny.network(stem="imagenet")


@pytest.mark.filterwarnings("ignore")  # the converters' own
@pytest.mark.parametrize("format", ["litert", *INSTALLED])
def test_another_runtime_gives_keras_answers(model, tmp_path, format):
    path, deviation = export_file(model, tmp_path, format, "net", preprocessing=keras.layers.Rescaling(1 / 255))
    assert path == tmp_path / "net" / "1" / FILES[format]
    assert path.is_file()
    assert deviation <= TOLERANCE


@pytest.mark.filterwarnings("ignore")
def test_litert_computes_in_integers_with_representative_images(model, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 19, 16, 3)).astype("float32")
    front = keras.layers.Rescaling(1 / 255)
    path, deviation = export_file(model, tmp_path, "litert", "net", preprocessing=front, representative=images)
    assert 0 < deviation < 0.1
    interpreter = tf.lite.Interpreter(str(path))
    types = {details["dtype"].__name__ for details in interpreter.get_tensor_details()}
    assert types <= {"int8", "uint8", "int32", "int64"}


def test_what_fails_inside_an_exporter_is_told_as_its_failure(model, tmp_path, monkeypatch):
    def export(*_, **__):
        raise NameError("name 'Constant' is not defined\n  in the converter")

    monkeypatch.setattr(keras.Model, "export", export)
    sentence = (
        rf"^The exporter to litert failed \(tensorflow {tf.__version__}, Keras {keras.__version__}, "
        rf"Python {platform.python_version()}\): NameError: name 'Constant' is not defined in the converter$"
    )
    with pytest.raises(RuntimeError, match=sentence):
        export_file(model, tmp_path, "litert", "net")
    assert not list(tmp_path.rglob("*.tflite"))


def test_a_bad_format_and_images_without_use_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"format must be one of litert, onnx, openvino\. Received: format='coreml'"):
        export_file(model, tmp_path, "coreml")
    with pytest.raises(ValueError, match='Representative images are for format="litert"'):
        export_file(model, tmp_path, "onnx", representative=np.zeros((1, 19, 16, 3)))
    assert not list(tmp_path.iterdir())
