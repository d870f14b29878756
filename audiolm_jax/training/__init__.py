"""Everything a training run needs that is not a model: mesh, loop, checkpoints, metrics."""
