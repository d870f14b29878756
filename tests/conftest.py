"""Every test runs on the CPU with eight forced devices, and rank promotion is an error."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
