"""Keras' dtype policies: which ones the layers compute in, and what stays wide under those of 16 bits."""

from typing import Any

import keras

POLICIES = ("float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16")


def policy_named(dtype: Any, name: str) -> keras.DTypePolicy:
    """The policy of a layer that is made with `dtype=`: what a `DTypePolicyMap` has for its name, else that."""
    policy = keras.dtype_policies.get(dtype)
    return policy[name] if isinstance(policy, keras.dtype_policies.DTypePolicyMap) else policy


def own_policy(layer: keras.Layer) -> keras.DTypePolicy:
    """The policy that a layer computes in."""
    return policy_named(layer.dtype_policy, layer.path or layer.name)


def check_policy(dtype: Any, what: str = "dtype") -> None:
    """Raises ValueError, which begins with `what`, for a policy of integers or of 8 bits, and for what is none."""
    try:
        policy = keras.dtype_policies.get(dtype)
        name = getattr(policy, "default_policy", policy).name
    except (TypeError, ValueError):
        name = dtype
    if name not in POLICIES:
        raise ValueError(
            f"{what} must be one of {', '.join(POLICIES)}; for 8 bits, export a trained model with serving.export_file "
            f'and format="litert". Received: {name!r}'
        )


def wide_dtype(policy: keras.DTypePolicy) -> str:
    """The dtype of a policy's variables, or float32 where that has 16 bits."""
    return "float32" if policy.variable_dtype in ("float16", "bfloat16") else policy.variable_dtype
