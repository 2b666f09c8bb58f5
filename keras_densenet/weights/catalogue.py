"""Published checkpoints: where they lie, what they expect, what they reach."""

import dataclasses

from keras_densenet.architecture import Architecture
from keras_densenet.family import variant


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A published file of ImageNet weights.

    Attributes:
        name: "source:network.recipe".
        variant: the network, a name from `list_models()`.
        url: of the file.
        hash: "md5:" or "sha256:" and the first digits that are published, or None.
        repository: on the Hugging Face hub, which verifies its own hash, or None.
        licence: of the weights.
        include_top: whether the file holds the classifier.
        classes: of the classifier.
        preprocessing: of the pixels: "torch" (RGB in 0..1, minus mean, by standard deviation), "caffe" (BGR minus
            mean) or "unit" (0..1).
        input_size, crop_pct, interpolation: the image's side in pixels, the share of the resized image's side that
            it is, and how that was resized, as for the accuracies below; None where not published.
        top1, top5: accuracy in per cent of ImageNet's validation images, a single centre crop.
        parameters: trainable ones.
        source: of the figures.
    """

    name: str
    variant: str
    url: str
    hash: str | None = None
    repository: str | None = None
    licence: str
    include_top: bool = True
    classes: int = 1000
    preprocessing: str = "torch"
    input_size: int = 224
    crop_pct: float | None = 0.875
    interpolation: str | None
    top1: float
    top5: float
    parameters: int
    source: str

    @property
    def file(self):
        """The last part of the URL."""
        return self.url.rsplit("/", 1)[-1]


def _keras(network, md5, top1, top5, parameters, include_top=True):
    base = "https://storage.googleapis.com/tensorflow/keras-applications/densenet/"
    return Checkpoint(
        name=f"keras-applications:{network}{'' if include_top else '.notop'}",
        variant=network,
        url=f"{base}{network}_weights_tf_dim_ordering_tf_kernels{'' if include_top else '_notop'}.h5",
        hash=f"md5:{md5}",
        licence="MIT",
        include_top=include_top,
        crop_pct=None,
        interpolation=None,
        top1=top1,
        top5=top5,
        parameters=parameters,
        source="keras/src/applications/densenet.py; accuracies: keras-team/keras-applications, README.md",
    )


def _timm(name, top1, top5, parameters, **options):
    return Checkpoint(
        name=f"timm:{name}",
        variant=name.split(".")[0],
        repository=f"timm/{name}",
        url=f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors",
        licence="Apache-2.0",
        interpolation="bicubic",
        top1=top1,
        top5=top5,
        parameters=parameters,
        source="timm/models/densenet.py; accuracies: huggingface/pytorch-image-models, results/results-imagenet.csv",
        **options,
    )


def _torchvision(network, sha256, top1, top5, parameters):
    return Checkpoint(
        name=f"torchvision:{network}",
        variant=network,
        url=f"https://download.pytorch.org/models/{network}-{sha256}.pth",
        hash=f"sha256:{sha256}",
        licence="BSD-3-Clause",
        interpolation="bilinear",
        top1=top1,
        top5=top5,
        parameters=parameters,
        source="torchvision/models/densenet.py",
    )


_ROWS = [
    _keras("densenet121", "9d60b8095a5708f2dcce2bca79d332c7", 74.520, 91.978, 7_978_856),
    _keras("densenet169", "d699b8f76981ab1b30698df4c175e90b", 76.074, 93.108, 14_149_480),
    _keras("densenet201", "1ceb130c1ea1b78c3bf6114dbdfd8807", 77.064, 93.458, 20_013_928),
    _keras("densenet121", "30ee3e1110167f948a6b9946edeeb738", 74.520, 91.978, 6_953_856, include_top=False),
    _keras("densenet169", "b8c4d4c20dd625c148057b9ff1c1176b", 76.074, 93.108, 12_484_480, include_top=False),
    _keras("densenet201", "c13680b51ded0fb44dff2d8f86ac8bb1", 77.064, 93.458, 18_092_928, include_top=False),
    _timm("densenet121.ra_in1k", 76.500, 93.368, 7_978_856, input_size=288, crop_pct=0.95),
    _timm("densenet121.tv_in1k", 74.764, 92.154, 7_978_856),
    _timm("densenetblur121d.ra_in1k", 77.320, 93.790, 7_998_088, input_size=288, crop_pct=0.95),
    _timm("densenet161.tv_in1k", 77.358, 93.642, 28_681_000),
    _timm("densenet169.tv_in1k", 75.900, 93.028, 14_149_480),
    _timm("densenet201.tv_in1k", 77.286, 93.480, 20_013_928),
    _torchvision("densenet121", "a639ec97", 74.434, 91.972, 7_978_856),
    _torchvision("densenet161", "8d451a50", 77.138, 93.560, 28_681_000),
    _torchvision("densenet169", "b2777c0a", 75.600, 92.806, 14_149_480),
    _torchvision("densenet201", "c1103571", 76.896, 93.370, 20_013_928),
]
CHECKPOINTS = {row.name: row for row in _ROWS}


def list_weights(network: str | None = None) -> list[str]:
    """Names of the published checkpoints that `weights=` and `load_weights` know.

    Args:
        network: a name from `list_models()`, to list only what is published for it.

    Returns:
        A list of strings.

    Example:
        >>> keras_densenet.list_weights("densenet161")
        ['timm:densenet161.tv_in1k', 'torchvision:densenet161']
    """
    return [name for name, row in CHECKPOINTS.items() if network in (None, row.variant)]


def find(name, plan):
    """The checkpoint that a name means for an architecture.

    Args:
        name: of a checkpoint or of a source, or "imagenet": the highest top-1 accuracy wins.
        plan: the `Architecture`; without classifier, files without one are preferred.

    Returns:
        A `Checkpoint`, or None where the name is none of the catalogue's.

    Raises:
        ValueError: if nothing of that name is published for the architecture.
    """
    sources = {row.name.split(":")[0] for row in CHECKPOINTS.values()}
    if name != "imagenet" and name.split(":")[0] not in sources:
        return None
    fits = [
        row for row in CHECKPOINTS.values() if _network(Architecture.plan(**variant(row.variant))) == _network(plan)
    ]
    named = [row for row in fits if name in ("imagenet", row.name.split(":")[0], row.name)]
    named = [row for row in named if row.include_top or not plan.classes or row.name == name]
    if not named:
        names = ", ".join(row.name for row in fits) or "nothing"
        raise ValueError(f"No such weights are published for this network ({names} is). Received: weights={name!r}")
    return max(named, key=lambda row: (row.top1, not row.include_top))


def _network(plan):
    return plan.blocks, plan.growth_rate, plan.bottleneck, plan.theta, plan.stem, plan.stem_channels, plan.stem_pool
