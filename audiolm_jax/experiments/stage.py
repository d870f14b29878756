"""Training the language model of one stage."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.data.tokens.config import Reader
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.trained import StepExperiment, TrainingData
from audiolm_jax.lm.config import StageModelConfig, StageTrainConfig

if TYPE_CHECKING:
    from audiolm_jax.data.tokens.mixture import TokenMixture
    from audiolm_jax.data.tokens.store import TokenStore
    from audiolm_jax.training.metrics import MetricsWriter
    from audiolm_jax.training.state import TrainProgram, TrainState

# What is continued at each evaluation if there is a `sample_bundle`.
_PROMPT_SECONDS = 3.0
_CONTINUATION_SECONDS = 4.0
_SEED = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageExperiment(StepExperiment):
    """Train the language model of one stage."""

    kind = "stage"
    has_flops_formula = True

    tokens: Place | tuple[Place, ...]
    """Token store, or several that the same tokenizers wrote, mixed by `token_weights`."""
    codec: Place
    """Run directory or model folder that the store's acoustic tokens must come from; the semantic
    stage, which has none, does not look at it."""
    semantic: Place
    """Run directory or model folder that the store's semantic tokens must come from; the fine
    stage, which has none, does not look at it."""
    model: StageModelConfig
    """The stage's tokens and its decoder."""
    batch_size: int = 256
    """Crops in a step, over all devices."""
    train: StageTrainConfig = StageTrainConfig()
    """Losses."""
    begin_at_centroids: bool = False
    """Embeddings of semantic tokens begin as the centroids of `semantic`, at random angles, so that
    units that sound alike begin alike; otherwise each for itself, as in the paper."""
    edge_share: float = 0.2
    """Share of the crops that begin where a recording begins or end where it ends, half of it each;
    the others lie anywhere. 0: all do, and of long recordings the model hardly sees an edge."""
    token_weights: tuple[int, ...] = ()
    """Of several stores: of every sum(token_weights) crops in a row so many come from each.
    Held-out batches are of all stores, one after the other."""
    reader: Reader = "seqio"
    """What reads the store; both give the same batches and may take turns within a run. seqio: the
    package of that name, on TensorFlow. plain: without them, a second faster to start."""
    sample_bundle: Place | None = None
    """Bundle that continues a held-out recording with this stage at each evaluation, of the first
    store; or None."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.edge_share <= 1:
            raise InputError(f"--edge-share {self.edge_share}: expected 0 to 1")

    def upstream(self) -> dict[str, str]:
        """The tokenizers whose tokens the stage reads or writes."""
        return {part: fingerprint_of(getattr(self, part)) for part in self.model.stage.tokenizers}

    def run(self) -> Path:
        """Trains with the token store's sizes where the config gives none."""
        return super(StageExperiment, self.sized()).run()

    def sized(self) -> "StageExperiment":
        """The same with the token store's sizes where none are given."""
        if self.model.stage.is_sized:
            return self
        sizes = self._open_tokens(verify=False).sizes
        stage = self.model.stage.sized(sizes.semantic_clusters, sizes.codebook_size, sizes.levels)
        return dataclasses.replace(self, model=dataclasses.replace(self.model, stage=stage))

    def program(self) -> "TrainProgram":
        """Next-token prediction."""
        self._check_sized()
        from audiolm_jax.lm import train
        from audiolm_jax.training.optim import make_optimizer

        return train.program(self.model, self.train, make_optimizer(self.optimizer))

    def _begin_at_centroids(self, params: Any, key: Any) -> Any:
        """What `TrainingData.begin` is."""
        import jax.numpy as jnp

        from audiolm_jax.lm.train import begin_at_centroids
        from audiolm_jax.tokenizers.semantic.tokenizer import load_kmeans_tokenizer

        clustering = load_kmeans_tokenizer(model_folder(self.semantic)).clustering
        return begin_at_centroids(params, key, self.model, jnp.asarray(clustering.centroids))

    def abstract_batch(self) -> Any:
        """`TokenBatch` of shapes."""
        import jax
        import numpy as np

        from audiolm_jax.types import TokenBatch

        self._check_sized()
        shape = (self.batch_size, self.model.stage.max_tokens - 1)
        ids: Any = jax.ShapeDtypeStruct(shape, np.int32)
        weights: Any = jax.ShapeDtypeStruct(shape, np.float32)
        return TokenBatch(inputs=ids, targets=ids, loss_weights=weights, levels=ids)

    def _check_sized(self) -> None:
        if not self.model.stage.is_sized:
            raise InputError(
                "--model.stage.semantic-clusters, --model.stage.codebook-size, "
                "--model.stage.levels: give all three where there is no token store"
            )

    def units_per_step(self) -> tuple[str, float]:
        """Tokens."""
        return "tokens", float(self.batch_size * (self.model.stage.max_tokens - 1))

    def model_flops(self) -> float:
        """By the usual formula, see `lm.flops`."""
        from audiolm_jax.lm.flops import model_flops

        return model_flops(self.model, self.batch_size, self.train.softmax)

    def filled(self, rows: Any) -> tuple[float, float]:
        """By the lengths of the sequences."""
        import numpy as np

        from audiolm_jax.lm.flops import sequence_flops
        from audiolm_jax.stages import PAD

        lengths, full = np.sum(rows.targets != PAD, axis=1), rows.targets.shape[1]
        of = functools.partial(sequence_flops, self.model, softmax=self.train.softmax)
        needed = [float(np.sum(of(n))) for n in (lengths, full)]
        return float(np.mean(lengths)) / full, needed[0] / needed[1] / len(lengths)

    def open_data(self) -> TrainingData:
        """Opens the token store, which must come from the tokenizers that are named."""
        from audiolm_jax.data.batch_contents import describe_tokens
        from audiolm_jax.data.tokens.loader import heldout_batches, token_batches
        from audiolm_jax.lm.decoder import check_backend
        from audiolm_jax.training.mesh import host_rows, make_mesh

        check_backend(self.model.decoder)
        tokens, stage, wanted = self._open_tokens(), self.model.stage, self.upstream()
        tokens.check_stage(stage)
        for store in tokens.stores:
            written = store.provenance.tokenizers()
            for part, named in wanted.items():
                if written[part] != named:
                    raise InputError(
                        f"--tokens {store.directory}: written by {part} {written[part][:16]}, but "
                        f"--{part} {getattr(self, part)} is {named[:16]}; tokenize again with it"
                    )
        seed, size, share = self.loop.seed, self.batch_size, self.edge_share
        rows, reader = host_rows(make_mesh(self.mesh), size), self.reader
        limit = self.loop.heldout_batches
        return TrainingData(
            batches=token_batches(tokens, stage, size, seed, rows, share, reader),
            heldout=heldout_batches(tokens, stage, size, rows=rows, limit=limit, reader=reader),
            facts=tokens.facts(),
            begin=self._begin_at_centroids if self.begin_at_centroids else None,
            describe=describe_tokens(tokens, stage, size, seed, share),
            on_evaluate=None
            if self.sample_bundle is None
            else self.write_samples(tokens.stores[0]),
            provenance={
                "semantic_tokens_per_second": tokens.semantic_per_second(stage),
                "tokens_read": {
                    "tokenizers": list(stage.tokenizers),
                    "of_stores": [s.provenance.read_by(stage.tokenizers) for s in tokens.stores],
                },
                **wanted,
            },
        )

    def data_facts(self) -> dict[str, Any]:
        """Of the token stores."""
        return self._open_tokens(verify=False).facts()

    def _open_tokens(self, verify: bool = True) -> "TokenMixture":
        from audiolm_jax.data.tokens.mixture import TokenMixture

        return TokenMixture.open(self.tokens, self.token_weights, verify)

    def write_samples(
        self, store: "TokenStore"
    ) -> "Callable[[int, TrainState, MetricsWriter], None]":
        """Continues a held-out recording, as the codec gives it back, with the stage of now."""
        import numpy as np

        from audiolm_jax.generation.bundle import StageModel, load_bundle
        from audiolm_jax.generation.config import GenerationConfig
        from audiolm_jax.generation.pipeline import Generator
        from audiolm_jax.training.mesh import gather, outside_mesh
        from audiolm_jax.types import AcousticTokens

        bundle, stage = load_bundle(str(self.sample_bundle)), self.model.stage
        where = f"--sample-bundle {self.sample_bundle}"
        if bundle.parts["codec"] != store.provenance.tokenizers()["codec"]:
            raise InputError(f"{where}: its codec did not write {store.directory}; bundle that one")
        if stage.name not in bundle.stages or bundle.stages[stage.name].config.stage != stage:
            raise InputError(
                f"{where}: holds no {stage.name} stage with the tokens and windows of model.stage"
            )
        program = self.program()
        frames = round(_PROMPT_SECONDS * stage.acoustic_rate_hz)
        codes = store.record("heldout", 0).codes[None, :frames].astype(np.int32)
        decoded = bundle.codec.decode(AcousticTokens(codes, np.array([codes.shape[1]], np.int32)))
        prompt = np.asarray(decoded.samples)[0]
        window = bundle.stages["coarse"].config.stage.crop_seconds
        config = GenerationConfig(context_seconds=min(_PROMPT_SECONDS, window / 2))

        def on_evaluate(step: int, state: "TrainState", writer: "MetricsWriter") -> None:
            whole = gather(dataclasses.replace(state, opt_state=()))
            arrays = {n: np.asarray(x) for n, x in program.export(whole).items()}
            folder = dataclasses.replace(bundle.stages[stage.name].folder, arrays=arrays)
            stages = bundle.stages | {stage.name: StageModel(self.model, folder)}
            with outside_mesh():
                generator = Generator(dataclasses.replace(bundle, stages=stages), config)
                (generated,) = generator.continue_audio([prompt], _CONTINUATION_SECONDS, [_SEED])
            writer.write_audio(step, "continuation", generated.samples, generator.sample_rate_hz)

        return on_evaluate
