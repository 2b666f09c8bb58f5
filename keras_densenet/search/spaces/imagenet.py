"""The ImageNet family: how to share layers out among the four blocks, growth rate and theta, at 224x224.

    keras-densenet search run --space imagenet --data imagenet2012 --recipe imagenet --epochs 20 --max-macs 2.9G \
        --max-parameters 8M --algorithm hyperband --trials 0 --compare densenet121

The budget is DenseNet-121's. Expect days on several GPUs (not measured): one worker on each, as docs/search.md tells.
With `--limit 128000 --image-size 112`, a tenth of the images at half the size, an epoch is some forty times shorter.
"""

SPACE = {
    "blocks": "4:8:2 6:16:2 12:48:4 8:32:4",
    "stem": "imagenet",
    "stem_channels": None,
    "growth_rate": "16:48:8",
    "theta": "0.4:0.6:0.1",
    "bottleneck": True,
    "dropout_rate": 0.0,
    "learning_rate": "0.05:0.2",
    "weight_decay": "0.0001",
}
