"""Run by a Python that has torch, torchvision, timm and MONAI: networks with random weights, their inputs and outputs.

    python torch_networks.py make FOLDER NAME...      writes NAME.safetensors, NAME.pth and NAME.npz for each
    python torch_networks.py check FOLDER NAME...     loads NAME.back.pth or .safetensors strictly, writes NAME.back.npz
    python torch_networks.py make tests/weights/fixtures NAME...               makes the fixtures, the tiny networks

A name is `densenet121` or the like of torchvision, `monai3d_densenet121` of MONAI, or one of the tiny networks:
`tiny_torchvision`, `tiny_timm`, `tiny_timm_blur_d`, `tiny_monai1d` and in 2 and 3 dimensions.
"""

import pathlib
import re
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file

TINY = {"growth_rate": 4, "block_config": (2, 1), "num_classes": 5}
TINY_MONAI = {"in_channels": 1, "out_channels": 3, "init_features": 4, "growth_rate": 2, "block_config": (2, 1)}
SIZES = {  # of images, by what a name begins with
    "tiny_monai1d": [(25,)],
    "tiny_monai2d": [(16, 25)],
    "tiny_monai3d": [(9, 16, 25)],
    "tiny": [(40, 33)],
    "monai1d": [(224,)],
    "monai2d": [(40, 65)],
    "monai3d": [(33, 40, 65)],
    "": [(224, 224), (197, 259)],
}


def network(name):
    if monai := re.search(r"monai(\d)d", name):
        from monai.networks import nets

        if name.startswith("tiny"):
            return nets.DenseNet(int(monai[1]), **TINY_MONAI)
        return getattr(nets, name.split("_")[1])(int(monai[1]), in_channels=2, out_channels=5)
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
        values = inputs[0].transpose(0, 1).flatten(1)
        mean, variance = values.mean(1), values.var(1)
        norm.running_mean.copy_(mean + 0.1 * variance.sqrt() * torch.randn_like(mean))
        norm.running_var.copy_(variance * torch.empty_like(variance).uniform_(0.5, 1.5))

    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(0, 0.2)
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    _, channels, *kernel = next(model.parameters()).shape
    spatial = {1: (512,), 2: (128, 128), 3: (64, 64, 64)}[len(kernel)]
    model.eval()(torch.randn(2, channels, *spatial))
    for hook in hooks:
        hook.remove()
    return model


@torch.no_grad()
def run(model, name, target):
    """Writes images, channels last, and logits."""
    found, channels = {}, next(model.parameters()).shape[1]
    for spatial in next(sizes for start, sizes in SIZES.items() if name.startswith(start)):
        images = torch.randn(2, *spatial, channels, generator=torch.Generator().manual_seed(spatial[0]))
        images = (16 * images).round() / 16  # which compress
        logits = model(images.movedim(-1, 1))
        found |= {f"images{spatial[0]}": images.numpy(), f"logits{spatial[0]}": logits.numpy()}
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
