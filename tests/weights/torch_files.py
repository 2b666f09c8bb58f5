"""Run by a Python that has torch: files as torch.save makes them, and the question whether torch takes ours.

python torch_files.py make FOLDER     writes values.pt, values.bin (before 1.6), module.pth, module.th (before 1.6),
                                      program.pt (TorchScript), and what is in them: values.npz, module.npz
python torch_files.py check FILE      loads FILE.pth with weights_only=True into FILE.npz's module, strictly
python torch_files.py make tests/weights/fixtures     makes the fixtures
"""

import argparse
import pathlib
import sys

import numpy as np
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3, bias=False), torch.nn.BatchNorm2d(2))
        self.classifier = torch.nn.Linear(2, 2)
        self.register_buffer("hidden", torch.ones(9), persistent=False)
        self.register_buffer("thresholds", torch.rand(3))
        self.activation = torch.nn.functional.relu
        self.labels = [np.str_("Edema")]
        self.options = argparse.Namespace(lr=0.1)


def values():
    base = torch.arange(24.0)
    tagged = torch.nn.Parameter(torch.rand(2))
    tagged.tag = "of a tensor with attributes"
    return {
        "transposed": base[:6].view(2, 3).t(),
        "every_second": base[4:20:2],
        "expanded": torch.rand(1).expand(5),
        "empty": torch.zeros(0, 3),
        "half": torch.randn(3).half(),
        "bfloat": torch.randn(3).bfloat16(),
        "double": torch.randn(3).double(),
        "count": torch.tensor(7),
        "flags": torch.tensor([True, False]),
        "uint16": torch.tensor([1, 60000], dtype=torch.uint16),
        "parameter": torch.nn.Parameter(torch.rand(2)),
        "tagged": tagged,
    }


def make(folder):
    torch.manual_seed(0)
    tensors, module = values(), torch.nn.DataParallel(Net())
    checkpoint = {"epoch": 3, "best": np.float64(0.5), "model": tensors, ("a", 1): None}
    for is_zip, endings in ((True, (".pt", ".pth")), (False, (".bin", ".th"))):
        torch.save(checkpoint, folder / f"values{endings[0]}", _use_new_zipfile_serialization=is_zip)
        torch.save(module, folder / f"module{endings[1]}", _use_new_zipfile_serialization=is_zip)
    torch.jit.script(torch.nn.Linear(1, 1)).save(folder / "program.pt")
    arrays = {name: tensor.detach() for name, tensor in tensors.items()}
    arrays = {name: tensor.float() if name == "bfloat" else tensor for name, tensor in arrays.items()}
    np.savez_compressed(folder / "values.npz", **{f"model.{name}": tensor.numpy() for name, tensor in arrays.items()})
    np.savez_compressed(folder / "module.npz", **{k: v.numpy() for k, v in module.state_dict().items()})


def check(file):
    state = torch.load(f"{file}.pth", weights_only=True)
    module = torch.nn.DataParallel(Net())
    module.load_state_dict(state, strict=True)
    with np.load(f"{file}.npz") as arrays:
        for name, tensor in module.state_dict().items():
            np.testing.assert_array_equal(tensor.numpy(), arrays[name])


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](pathlib.Path(sys.argv[2]))
