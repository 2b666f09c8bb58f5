"""Run by a Python that has torch: `.pth` to `.npz` and back. Tensors only; whatever else is pickled is not run."""

import sys

import numpy as np
import torch


def main(task, source, target):
    if task == "write":
        with np.load(source) as tensors:
            torch.save({name: torch.from_numpy(values) for name, values in tensors.items()}, target)
        return
    state = torch.load(source, map_location="cpu", weights_only=True)
    found = {}
    for name, tensor in _tensors({"": state}):
        if name in found:
            raise ValueError(f"two tensors are {name}")
        found[name] = _array(tensor)
    np.savez(target, **found)


def _tensors(state, scope=""):
    """Yields names and tensors; `{"model": {"conv": tensor}}`, as training scripts have it, is `model.conv`."""
    for key, value in state.items():
        name = f"{scope}.{key}" if scope else str(key)
        if isinstance(value, dict):
            yield from _tensors(value, name)
        elif isinstance(value, torch.Tensor):
            yield name, value


def _array(tensor):
    is_half = tensor.dtype in (torch.float16, torch.bfloat16)
    return (tensor.float() if is_half else tensor).detach().numpy()


try:
    main(*sys.argv[1:])
except Exception as error:
    sys.exit(str(error).split("\n")[0] or type(error).__name__)
