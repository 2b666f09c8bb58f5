"""Run by a Python that has torch, torchvision and timm: networks with random weights, their inputs and outputs.

    python torch_networks.py make FOLDER NAME...      writes NAME.safetensors, NAME.pth and NAME.npz for each
    python torch_networks.py check FOLDER NAME...     loads NAME.back.pth or .safetensors strictly, writes NAME.back.npz
    python torch_networks.py make tests/weights/fixtures NAME...               makes the fixtures, the tiny networks

A name is `densenet121` or the like of torchvision, or one of the tiny networks.
"""

import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file

TINY = {"growth_rate": 4, "block_config": (2, 1), "num_classes": 5}
SIZES = {"tiny": [(40, 33)], "full": [(224, 224), (197, 259)]}


def network(name):
    if name.startswith("tiny_timm"):
        from timm.layers import BlurPool2d
        from timm.models.densenet import DenseNet

        return DenseNet(**TINY, **({"stem_type": "deep", "aa_layer": BlurPool2d} if name.endswith("blur_d") else {}))
    import torchvision

    if name == "tiny_torchvision":
        return torchvision.models.DenseNet(**TINY, num_init_features=8)
    return getattr(torchvision.models, name)(weights=None)


@torch.no_grad()
def randomise(model):
    """Random scales and shifts; statistics near those of random images, but different in every reader."""

    def measure(norm, inputs):
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))
        norm.running_mean.copy_(mean + 0.1 * variance.sqrt() * torch.randn_like(mean))
        norm.running_var.copy_(variance * torch.empty_like(variance).uniform_(0.5, 1.5))

    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(0, 0.2)
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    model.eval()(torch.randn(2, 3, 128, 128))
    for hook in hooks:
        hook.remove()
    return model


@torch.no_grad()
def run(model, name, target):
    """Writes images in NHWC and logits."""
    found = {}
    for height, width in SIZES["tiny" if name.startswith("tiny") else "full"]:
        images = torch.randn(2, height, width, 3, generator=torch.Generator().manual_seed(height))
        logits = model(images.permute(0, 3, 1, 2))
        found |= {f"images{height}": images.numpy(), f"logits{height}": logits.numpy()}
    np.savez_compressed(target, **found)


def main(task, folder, *names):
    for name in names:
        torch.manual_seed(0)
        stem = pathlib.Path(folder, name)
        model = network(name)
        if task == "make":
            randomise(model)
            save_file(model.state_dict(), f"{stem}.safetensors")
            torch.save(model.state_dict(), f"{stem}.pth")
            run(model, name, f"{stem}.npz")
        else:
            pth = pathlib.Path(f"{stem}.back.pth")
            state = torch.load(pth, weights_only=True) if pth.exists() else load_file(f"{stem}.back.safetensors")
            model.load_state_dict(state, strict=True)
            run(model.eval(), name, f"{stem}.back.npz")


main(*sys.argv[1:])
