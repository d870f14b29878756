"""The trained model as a folder, from a state that may be spread over many hosts."""

import dataclasses
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.model_folder import save_model
from audiolm_jax.training.distributed import from_first_host
from audiolm_jax.training.mesh import gather
from audiolm_jax.training.state import TrainProgram, TrainState


def export_model(
    directory: Path,
    kind: str,
    config: Any,
    program: TrainProgram,
    state: TrainState,
    provenance: dict[str, Any],
) -> str:
    """Writes the model folder on the first host; its fingerprint. All hosts must call it."""
    whole = gather(dataclasses.replace(state, opt_state=()))
    return from_first_host(
        lambda: save_model(directory, kind, config, program.export(whole), provenance)
    )
