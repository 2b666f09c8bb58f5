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
    for key in ("state_dict", "model"):  # checkpoints of training scripts keep the tensors there
        state = state.get(key, state)
    np.savez(target, **{name: _array(tensor) for name, tensor in state.items()})


def _array(tensor):
    is_half = tensor.dtype in (torch.float16, torch.bfloat16)
    return (tensor.float() if is_half else tensor).detach().numpy()


try:
    main(*sys.argv[1:])
except Exception as error:
    sys.exit(str(error).split("\n")[0] or type(error).__name__)
