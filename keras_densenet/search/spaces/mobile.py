"""Small networks for phones: few multiply-accumulates and little memory, on images of 96x96 or so.

    keras-densenet search run --space mobile --data photos/ --image-size 96 --max-parameters 1M --max-macs 50M \
        --max-activation-bytes 1G --epochs 20 --trials 50

`photos/` is a folder with the images of each class in a subfolder. The search begins by telling how much of the space
is within the budget; what is over it is never built. Not measured on a GPU; on two cores it takes a night or more.
"""

SPACE = {
    "blocks": "2:6 2:8 4:16 2:12",
    "stem": "imagenet",
    "stem_channels": "16:48:8",
    "growth_rate": "8:24:4",
    "theta": "0.25:0.75:0.125",
    "bottleneck": True,
    "dropout_rate": "0.0,0.1,0.2",
    "learning_rate": "0.02:0.3",
    "weight_decay": "0.00001:0.0005",
}
