"""Who runs: each function builds one implementation and returns a step to time, a function without arguments.

`network` is a name from `keras_densenet.list_models()`. All train with Nesterov momentum SGD on one fixed batch.
"""

import functools
import tempfile

import numpy as np

import keras_densenet as kd


def _batch(network, batch_size):
    plan = kd.Architecture.plan(**kd.models.variants.variant(network))
    random = np.random.default_rng(0)
    images = random.normal(size=(batch_size, *plan.input_shape)).astype("float32")
    return images, random.integers(0, plan.classes, batch_size), plan


def _ours(network):
    return kd.create_model(network)


def _ordinary(network):
    """keras.applications' network where it has it, the paper's plain composition of Keras' layers elsewhere."""
    import keras

    if network in ("densenet121", "densenet169", "densenet201"):
        return getattr(keras.applications, network.replace("densenet", "DenseNet"))(weights=None)
    from tests.oracle import plain_model

    return plain_model(kd.create_model(network))


def _keras_train(build, xla, network, batch_size):
    import keras

    images, labels, _ = _batch(network, batch_size)
    model = build(network)
    model.compile(keras.optimizers.SGD(0.01, 0.9, nesterov=True), "sparse_categorical_crossentropy", jit_compile=xla)
    assert model.jit_compile == xla
    return lambda: model.train_on_batch(images, labels)


def _keras_infer(build, xla, network, batch_size):
    import tensorflow as tf

    images = tf.constant(_batch(network, batch_size)[0])
    model = build(network)
    run = tf.function(functools.partial(model, training=False), jit_compile=xla)
    return lambda: run(images).numpy()


def _torch_model(network, plan):
    import torch
    import torchvision

    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = torchvision.models.DenseNet(
        growth_rate=plan.growth_rate,
        block_config=plan.blocks,
        num_init_features=plan.stem_channels,
        num_classes=plan.classes,
    )
    if plan.stem == "cifar":
        model.features.conv0 = torch.nn.Conv2d(plan.input_shape[-1], plan.stem_channels, 3, padding=1, bias=False)
        del model.features.norm0, model.features.relu0, model.features.pool0
    return model.to(memory_format=torch.channels_last)


def _torch_images(images):
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _torch_train(network, batch_size):
    import torch

    images, labels, plan = _batch(network, batch_size)
    images, labels = _torch_images(images), torch.from_numpy(labels)
    model = _torch_model(network, plan).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _torch_infer(compiled, network, batch_size):
    import torch

    images, _, plan = _batch(network, batch_size)
    images, model = _torch_images(images), _torch_model(network, plan).eval()
    model = torch.compile(model) if compiled else model

    def step():
        with torch.inference_mode():
            return model(images).numpy()

    return step


def _onnxruntime_infer(network, batch_size):
    import onnxruntime
    import torch

    images, _, plan = _batch(network, batch_size)
    with tempfile.TemporaryDirectory() as folder:
        model = _torch_model(network, plan).eval()
        torch.onnx.export(model, (_torch_images(images),), f"{folder}/model.onnx", dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        session = onnxruntime.InferenceSession(f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: np.ascontiguousarray(images.transpose(0, 3, 1, 2))}
    return lambda: session.run(None, given)


def _openvino_infer(network, batch_size):
    import openvino

    images = _batch(network, batch_size)[0]
    with tempfile.TemporaryDirectory() as folder:
        _ordinary(network).export(folder, verbose=False)
        model = openvino.compile_model(openvino.convert_model(folder), "CPU", {"INFERENCE_NUM_THREADS": 2})
        return lambda: model(images)


def _folded(network):
    return kd.fold(_ours(network))


TRAIN = {
    "keras_densenet, XLA": functools.partial(_keras_train, _ours, True),
    "keras_densenet": functools.partial(_keras_train, _ours, False),
    "ordinary Keras, XLA": functools.partial(_keras_train, _ordinary, True),
    "ordinary Keras": functools.partial(_keras_train, _ordinary, False),
    "torchvision eager": _torch_train,
}
INFER = {
    "keras_densenet folded, XLA": functools.partial(_keras_infer, _folded, True),
    "keras_densenet folded": functools.partial(_keras_infer, _folded, False),
    "ordinary Keras, XLA": functools.partial(_keras_infer, _ordinary, True),
    "ordinary Keras": functools.partial(_keras_infer, _ordinary, False),
    "torchvision eager": functools.partial(_torch_infer, False),
    "torchvision compiled": functools.partial(_torch_infer, True),
    "ONNX Runtime": _onnxruntime_infer,
    "OpenVINO": _openvino_infer,
}
NEEDS = {"torchvision": "torchvision", "ONNX": "onnxruntime", "OpenVINO": "openvino"}
TASKS = {"train": TRAIN, "infer": INFER}
