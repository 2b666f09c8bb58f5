"""Published checkpoints: where they lie, what they expect, what they reach."""

import dataclasses
import difflib

from keras_densenet.architecture import Architecture
from keras_densenet.family import VARIANTS, variant
from keras_densenet.types import Mode


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A published file of weights.

    Attributes:
        name: "source:network.recipe".
        variant: the network, a name from `list_models()`.
        data: what it was trained on.
        url: of the file.
        hash: "md5:" or "sha256:" and the first digits that are published, or None.
        repository: on the Hugging Face hub, which verifies its own hash, or None.
        licence: of the weights.
        include_top: whether the file holds the classifier.
        classes: of the classifier.
        activation: of the classifier.
        labels: the names of the classes, "" for outputs that were not trained; None for ImageNet's.
        thresholds: the probabilities at which the authors call a finding present, None for outputs that have none.
        channels: of the images.
        preprocessing: of the pixels, the `mode` of `layers.Preprocess`: "torch" (RGB in 0..1, minus mean, by standard
            deviation), "caffe" (BGR minus mean), "unit" (0..1), or numbers. With numbers a network of these weights is
            built behind a `Preprocess`, and takes pixels in 0..255.
        input_size, crop_pct, interpolation: the image's side in pixels, the share of the resized image's side that
            it is, and how that was resized, as for the accuracies below; None where not published.
        top1, top5: accuracy in per cent of ImageNet's validation images, a single centre crop.
        parameters: trainable ones.
        note: what else to know before using it.
        source: of the figures.
    """

    name: str
    variant: str
    data: str = "ImageNet"
    url: str
    hash: str | None = None
    repository: str | None = None
    licence: str
    include_top: bool = True
    classes: int = 1000
    activation: str = "softmax"
    labels: tuple[str, ...] | None = None
    thresholds: tuple[float | None, ...] | None = None
    channels: int = 3
    preprocessing: Mode = "torch"
    input_size: int = 224
    crop_pct: float | None = 0.875
    interpolation: str | None
    top1: float | None = None
    top5: float | None = None
    parameters: int
    note: str = ""
    source: str

    @property
    def file(self) -> str:
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


# In the order of the outputs, with the probability at which each data set's network calls it present.
_FINDINGS = """
                            all         nih            pc           chex        rsna        mimic_nb     mimic_ch
Atelectasis                 0.07422872  0.039117552    0.031012505  0.1988969   -           0.08558747   0.09121389
Consolidation               0.038290843 0.0034529066   0.013347598  0.05710573  -           0.011884617  0.010573786
Infiltration                0.09814756  0.11396341     0.081435576  -           -           -            -
Pneumothorax                0.0098118475 0.0057298196  0.001262615  0.0531293   -           0.0040595434 0.005023008
Edema                       0.023601074 0.00045666535  0.002587246  0.1435217   -           0.010733786  0.003698257
Emphysema                   0.0022490358 0.0018880932  0.0035944257 -           -           -            -
Fibrosis                    0.010060724 0.012037827    0.0023071    -           -           -            -
Effusion                    0.103246614 0.038744126    0.055412333  0.27212676  -           0.118761964  0.08001232
Pneumonia                   0.056810737 0.0037213727   0.044385884  0.07749717  0.13486601  0.022924708  0.037242252
Pleural_Thickening          0.026791653 0.014730946    0.042766232  -           -           -            -
Cardiomegaly                0.050318155 0.016149804    0.043258056  0.19712369  -           0.06358637   0.05006329
Nodule                      0.023985857 0.054241467    0.037629247  -           -           -            -
Mass                        0.01939503  0.037198864    0.005658899  -           -           -            -
Hernia                      0.042889766 0.0004403434   0.0091741895 -           -           -            -
Lung_Lesion                 0.053369623 -              -            0.09932402  -           0.022143636  0.019866971
Fracture                    0.035975814 -              0.026507627  0.09273402  -           0.017476924  0.03823637
Lung_Opacity                0.20204692  -              -            0.3270967   0.13511065  0.1258702    0.11303808
Enlarged_Cardiomediastinum  0.05015312  -              -            0.10888247  -           0.014020768  0.0069147074
"""
_SPACED = {"Lung_Lesion", "Lung_Opacity", "Enlarged_Cardiomediastinum"}  # only here in one word


def _torchxrayvision():
    header, *table = (line.split() for line in _FINDINGS.strip().splitlines())
    for column, data in enumerate(header, 1):
        thresholds = [None if row[column] == "-" else float(row[column]) for row in table]
        labels = [row[0].replace("_", " ") if row[0] in _SPACED else row[0] for row in table]
        trained = {"all": "nih-pc-chex-mimic_ch-google-openi-kaggle", "rsna": "kaggle"}.get(data, data)
        yield Checkpoint(
            name=f"torchxrayvision:{data}",
            variant="densenet121",
            data=f"chest X-rays ({data})",
            url="https://github.com/mlmed/torchxrayvision/releases/download/v1/"
            f"{trained}-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
            licence="Apache-2.0",
            classes=18,
            activation="sigmoid",
            labels=tuple("" if limit is None else label for label, limit in zip(labels, thresholds, strict=True)),
            thresholds=tuple(thresholds),
            channels=1,
            preprocessing={"mean": 127.5, "std": 127.5 / 1024},  # to -1024..1024
            crop_pct=1.0,
            interpolation="bilinear",
            parameters=6_966_034,
            note="The authors publish no hash of the file. Their package shows probabilities around 0.5 instead of "
            "the thresholds; here they are the sigmoid's own.",
            source="mlmed/torchxrayvision, torchxrayvision/models.py and utils.py",
        )


def _radimagenet(convention, preprocessing):
    return Checkpoint(
        name=f"radimagenet:densenet121.{convention}",
        variant="densenet121",
        data="RadImageNet",
        repository="Lab-Rasool/RadImageNet",
        url="https://huggingface.co/Lab-Rasool/RadImageNet/resolve/main/DenseNet121.pt",
        licence="MIT",
        include_top=False,
        classes=165,
        preprocessing=preprocessing,
        crop_pct=None,
        interpolation=None,
        parameters=6_953_856,
        note="What was published of the preprocessing is inconsistent: the authors' training scripts take ImageNet's "
        "mean from BGR and divide by 255 (.tensorflow), their PyTorch example scales to -1..1 (.pytorch). The Keras "
        "file, RadImageNet-DenseNet121_notop.h5 in their Google Drive, loads by its path.",
        source="BMEII-AI/RadImageNet, README.md, LICENSE, breast/breast_train.py, issues 18 and 20",
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
    *_torchxrayvision(),
    # Images are grey with three equal channels, so that the order of the means is all that BGR leaves.
    _radimagenet("tensorflow", {"mean": [103.939, 116.779, 123.68], "std": 255.0}),
    _radimagenet("pytorch", {"mean": 127.5, "std": 127.5}),
]
CHECKPOINTS = {row.name: row for row in _ROWS}


def list_weights(network: str | None = None) -> list[str]:
    """Names of the published checkpoints that `weights=` and `load_weights` know.

    Args:
        network: a name from `list_models()`, to list only what is published for it.

    Returns:
        A list of strings.

    Examples:
        >>> kd.list_weights("densenet161")
        ['timm:densenet161.tv_in1k', 'torchvision:densenet161']
    """
    return [name for name, row in CHECKPOINTS.items() if network in (None, row.variant)]


def weights_info(name: str) -> Checkpoint:
    """What is known of published weights: file, licence, labels, thresholds, preprocessing, accuracy, source.

    Args:
        name: one of `list_weights()`.

    Returns:
        A `Checkpoint`.

    Raises:
        ValueError: for an unknown name; gives the nearest ones.

    Examples:
        >>> kd.weights_info("torchxrayvision:all").thresholds[0]  # of "Atelectasis"
        0.07422872
    """
    if name not in CHECKPOINTS:
        near = difflib.get_close_matches(str(name), CHECKPOINTS, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else " list_weights() (keras-densenet weights) has all."
        raise ValueError(f"Unknown weights. Received: {name!r}.{hint}")
    return CHECKPOINTS[name]


def find(name, plan):
    """The checkpoint that a name means for an architecture.

    Args:
        name: of a checkpoint or of a source, or "imagenet": the highest top-1 accuracy wins.
        plan: the `Architecture`; without classifier, files without one are preferred.

    Returns:
        A `Checkpoint`, or None where the name is none of the catalogue's.

    Raises:
        ValueError: if nothing of that name is published for the architecture, or more than one and no accuracies.
    """
    sources = {row.name.split(":")[0] for row in CHECKPOINTS.values()}
    if not isinstance(name, str) or (name != "imagenet" and name.split(":")[0] not in sources):
        return None
    fits = [
        row for row in CHECKPOINTS.values() if _network(Architecture.plan(**variant(row.variant))) == _network(plan)
    ]
    named = [row for row in fits if name in (row.data.lower(), row.name.split(":")[0], row.name)]
    choice = [row for row in fits if row.name.startswith(f"{name}.")]  # two ways to use one file
    if (choice and not named) or (len(named) > 1 and any(row.top1 is None for row in named)):
        rows = named or choice
        note = f" {rows[0].note}" if len({row.note for row in rows}) == len({row.url for row in rows}) == 1 else ""
        raise ValueError(f"Choose one of {', '.join(row.name for row in rows)}.{note} Received: weights={name!r}")
    named = [row for row in named if row.include_top or not plan.classes or row.name == name]
    if not named:
        names = ", ".join(row.name for row in fits) or "nothing"
        raise ValueError(f"No such weights are published for this network ({names} is). Received: weights={name!r}")
    return max(named, key=lambda row: (row.top1 or 0, not row.include_top))


def member(plan):
    """The name of the network that has an architecture's weights, whose pool has none; None for none of the family."""
    wanted = _network(plan)[:-1]
    return next((name for name in VARIANTS if _network(Architecture.plan(**variant(name)))[:-1] == wanted), None)


def _network(plan):
    return plan.blocks, plan.growth_rate, plan.bottleneck, plan.theta, plan.stem, plan.stem_channels, plan.stem_pool
