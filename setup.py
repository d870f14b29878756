"""Installs configs/, which lies beside the package, within it; all else stands in setup.cfg."""

from setuptools import find_namespace_packages, find_packages, setup

configs = ["configs", *(f"configs.{name}" for name in find_namespace_packages("configs"))]
setup(
    packages=[
        *find_packages(include=["audiolm_jax*"]),
        *(f"audiolm_jax.{name}" for name in configs),
    ],
    package_dir={f"audiolm_jax.{name}": name.replace(".", "/") for name in configs},
    package_data={
        "audiolm_jax": ["py.typed"],
        "audiolm_jax.evaluation.page": ["templates/*"],
        "audiolm_jax.serve": ["static/*"],
        **{f"audiolm_jax.{name}": ["*.txt"] for name in configs},
    },
)
