"""`python -m keras_densenet`: the command line."""

import keras_densenet_launch

keras_densenet_launch.main()
