"""The paper's CIFAR family: three equal blocks, plain or with bottlenecks.

    keras-densenet search run --space cifar --data cifar10 --recipe cifar --epochs 40 --max-parameters 1M \
        --algorithm hyperband --trials 0 --compare densenet-bc-100-12

For a machine with a GPU, and not measured on one: Hyperband trains some 60 networks, for 2 to 40 epochs each, and goes
on with the best of them. With `--data digits` and without `--recipe cifar --epochs 40` it runs on any machine.
"""

SPACE = {
    "blocks": "4:16:2 4:16:2 4:16:2",
    "equal_blocks": True,
    "growth_rate": "12:40:4",
    "theta": "0.5,1.0",
    "bottleneck": "yes,no",
    "stem_channels": None,
    "dropout_rate": "0.0,0.2",
    "learning_rate": "0.03:0.3",
    "weight_decay": "0.0001",
}
