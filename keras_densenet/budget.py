"""What a network may cost, before anything is built."""

import dataclasses

from keras_densenet.cost import Network, cost


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a network's cost, in closed form.

    Args:
        max_parameters: most trainable parameters.
        max_macs: most multiply-accumulates of one image.
        max_activation_bytes: most bytes that training keeps for the backward pass.
        batch_size: images, for `max_activation_bytes`.

    Raises:
        ValueError: for a limit that is not positive.

    Examples:
        >>> kd.search.Budget(max_parameters=200_000)
        Budget(max_parameters=200000, ...)
    """

    max_parameters: int | None = None
    max_macs: int | None = None
    max_activation_bytes: int | None = None
    batch_size: int = 64

    def __post_init__(self):
        for name, limit in dataclasses.asdict(self).items():
            if limit is not None and limit <= 0:
                raise ValueError(f"{name} must be positive. Received: {name}={limit}")

    def figures(self, network: Network) -> dict[str, int]:
        """What a network costs, a dict: parameters, macs and activation_bytes.

        Raises:
            ValueError: for arguments that make no DenseNet.
        """
        found = cost(network)
        figures = {"parameters": found.trainable_parameters, "macs": found.macs}
        return {**figures, "activation_bytes": found.activation_bytes(self.batch_size, training=True)}

    def excess(self, network: Network) -> str:
        """What a network has too much of, a text; empty if it fits."""
        found = [
            f"{figure:,} {name.replace('_', ' ')}, max_{name}={limit:,}"
            for name, figure in self.figures(network).items()
            if (limit := getattr(self, f"max_{name}")) is not None and figure > limit
        ]
        return "; ".join(found)

    def fits(self, network: Network) -> bool:
        """Whether a network is a DenseNet and within all limits."""
        try:
            return not self.excess(network)
        except ValueError:
            return False
