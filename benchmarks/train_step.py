"""Time and memory of one training step: python -m benchmarks.train_step [densenet121] [densenet-bc-100-12].

Ten minutes for each network. DenseNet-121 trains 8 images of 224x224, a CIFAR network 64 of 32x32.
"""

import sys

from benchmarks.race import race, show

if __name__ == "__main__":
    for network in sys.argv[1:] or ["densenet121", "densenet-bc-100-12"]:
        batch_size = 64 if "-" in network else 8
        show(f"train step, {network}, batch {batch_size}", race("train", network, batch_size, rounds=7))
