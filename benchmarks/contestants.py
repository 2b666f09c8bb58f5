"""Who runs: each function builds one implementation and returns a step to time, a function without arguments.

A `plan` has the fields of `keras_densenet.Architecture` and the network's name; a `policy` is Keras' dtype policy, for
torch its autocast. All train with Nesterov momentum SGD on one fixed batch, on a GPU where there is one. TensorFlow and
torch do not bear each other in one process, so each is imported where it is used; torch may be installed in another
Python, which the variable KERAS_DENSENET_TORCH_PYTHON names.
"""

import functools
import os
import subprocess
import sys
import tempfile

import numpy as np


def _batch(plan, batch_size):
    random = np.random.default_rng(0)
    images = random.normal(size=(batch_size, *plan.input_shape)).astype("float32")
    return images, random.integers(0, plan.classes, batch_size)


def _ours(plan):
    import keras_densenet as kd

    return kd.DenseNet(**vars(plan))


def _folded(plan):
    import keras_densenet as kd

    return kd.fold(_ours(plan))


def _ordinary(plan):
    """keras.applications' network where it has it, the paper's plain composition of Keras' layers elsewhere."""
    import keras

    if plan.name in ("densenet121", "densenet169", "densenet201"):
        return getattr(keras.applications, plan.name.replace("densenet", "DenseNet"))(weights=None)
    from tests.oracle import plain_model

    return plain_model(_ours(plan))


def _keras_train(build, xla, plan, batch_size, policy):
    import keras
    import tensorflow as tf

    keras.config.set_dtype_policy(policy)
    images, labels = _batch(plan, batch_size)
    model = build(plan)
    model.compile(keras.optimizers.SGD(0.01, 0.9, nesterov=True), "sparse_categorical_crossentropy", jit_compile=xla)
    assert model.jit_compile == xla
    images, labels = tf.constant(images), tf.constant(labels)  # where the network is, as torch's are
    return lambda: model.train_on_batch(images, labels)


def _keras_infer(build, xla, plan, batch_size, policy):
    import keras
    import tensorflow as tf

    keras.config.set_dtype_policy(policy)
    images = tf.constant(_batch(plan, batch_size)[0])
    model = build(plan)
    run = tf.function(functools.partial(model, training=False), jit_compile=xla)
    return lambda: run(images).numpy()


def _torch_model(plan):
    import torch

    torch.set_num_threads(2)
    torch.manual_seed(0)
    if len(plan.input_shape) == 4:
        return _monai_model(plan)
    import torchvision

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


def _monai_model(plan):
    from monai.networks.nets import DenseNet

    names = {"init_features": plan.stem_channels, "growth_rate": plan.growth_rate, "block_config": plan.blocks}
    return DenseNet(spatial_dims=3, in_channels=plan.input_shape[-1], out_channels=plan.classes, **names)


def _torch_images(images):
    import torch

    layout = torch.channels_last if images.ndim == 4 else torch.channels_last_3d
    images = torch.from_numpy(np.moveaxis(images, -1, 1)).contiguous(memory_format=layout)
    return images.to(_torch_device())


def _torch_device():
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _torch_autocast(policy):
    import torch

    dtype = getattr(torch, policy.removeprefix("mixed_"))
    return torch.autocast(_torch_device(), dtype, enabled=policy.startswith("mixed_"))


def _torch_train(compiled, plan, batch_size, policy):
    import torch

    images, labels = _batch(plan, batch_size)
    images, labels = _torch_images(images), torch.from_numpy(labels).to(_torch_device())
    model = _torch_model(plan).train().to(_torch_device())
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True)
    model = torch.compile(model) if compiled else model

    def step():
        optimizer.zero_grad()
        with _torch_autocast(policy):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _torch_infer(compiled, plan, batch_size, policy):
    import torch

    images = _batch(plan, batch_size)[0]
    images, model = _torch_images(images), _torch_model(plan).eval().to(_torch_device())
    model = torch.compile(model) if compiled else model

    def step():
        with torch.inference_mode(), _torch_autocast(policy):
            return model(images).float().cpu().numpy()

    return step


def _onnxruntime_infer(plan, batch_size, policy):
    import onnxruntime
    import torch

    assert policy == "float32"
    images = _batch(plan, batch_size)[0]
    with tempfile.TemporaryDirectory() as folder:
        model = _torch_model(plan).eval()
        torch.onnx.export(model, (_torch_images(images),), f"{folder}/model.onnx", dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        session = onnxruntime.InferenceSession(f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: np.ascontiguousarray(images.transpose(0, 3, 1, 2))}
    return lambda: session.run(None, given)


def _openvino_infer(plan, batch_size, policy):
    import openvino

    assert policy == "float32"
    images = _batch(plan, batch_size)[0]
    with tempfile.TemporaryDirectory() as folder:
        _ordinary(plan).export(folder, verbose=False)
        options = {"INFERENCE_NUM_THREADS": 2, "INFERENCE_PRECISION_HINT": "f32"}  # by itself it may choose bfloat16
        model = openvino.compile_model(openvino.convert_model(folder), "CPU", options)
        return lambda: model(images)


TRAIN = {
    "keras_densenet, XLA": functools.partial(_keras_train, _ours, True),
    "keras_densenet": functools.partial(_keras_train, _ours, False),
    "ordinary Keras, XLA": functools.partial(_keras_train, _ordinary, True),
    "ordinary Keras": functools.partial(_keras_train, _ordinary, False),
    "ordinary Keras, XLA, kept memory": functools.partial(_keras_train, _ordinary, True),
    "torchvision eager": functools.partial(_torch_train, False),
    "torchvision eager, kept memory": functools.partial(_torch_train, False),
    "torchvision compiled": functools.partial(_torch_train, True),
}
INFER = {
    "keras_densenet folded, XLA": functools.partial(_keras_infer, _folded, True),
    "keras_densenet folded": functools.partial(_keras_infer, _folded, False),
    "ordinary Keras, XLA": functools.partial(_keras_infer, _ordinary, True),
    "ordinary Keras": functools.partial(_keras_infer, _ordinary, False),
    "ordinary Keras, XLA, kept memory": functools.partial(_keras_infer, _ordinary, True),
    "torchvision eager": functools.partial(_torch_infer, False),
    "torchvision eager, kept memory": functools.partial(_torch_infer, False),
    "torchvision compiled": functools.partial(_torch_infer, True),
    "ONNX Runtime": _onnxruntime_infer,
    "OpenVINO": _openvino_infer,
}
TORCH_PYTHON = os.environ.get("KERAS_DENSENET_TORCH_PYTHON") or sys.executable
NEEDS = {  # which Python has to have which modules
    "torchvision": (TORCH_PYTHON, "torchvision"),
    "ONNX": (TORCH_PYTHON, "onnxruntime", "onnxscript", "torchvision"),
    "OpenVINO": (sys.executable, "openvino"),
    "MONAI": (TORCH_PYTHON, "monai"),
}
VOLUMES = {name: TRAIN[name] for name in ("keras_densenet, XLA", "ordinary Keras, XLA")}
VOLUMES["MONAI eager"] = functools.partial(_torch_train, False)
TASKS = {"train": TRAIN, "infer": INFER, "train on volumes": VOLUMES}


def python_of(name):
    """The Python that runs a contestant; None where that lacks something."""
    python, *modules = next((needs for word, needs in NEEDS.items() if word in name), (sys.executable,))
    lacks = "import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))"
    return None if modules and subprocess.run([python, "-c", lacks, *modules]).returncode else python


def environment(name):
    """A contestant's environment: this package as it comes, the others as they come or told to keep their memory.

    All of them share a GPU where there is one.
    """
    common = {**os.environ, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    if name.startswith("keras_densenet"):
        return common
    if "kept memory" not in name:
        return {**common, "TF_CPU_ALLOCATOR_USE_BFC": "0"}  # what importing keras_densenet would turn on
    malloc = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000"
    return {**common, "TF_CPU_ALLOCATOR_USE_BFC": "1", "GLIBC_TUNABLES": malloc}
