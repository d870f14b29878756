"""What a stage is made of, and how it learns; nothing here needs JAX."""

import dataclasses
import functools
from typing import Literal

from audiolm_jax.errors import InputError, check_fields
from audiolm_jax.stages import StageConfig

KIND = "stage"  # of model folders, whose config is a StageModelConfig

# Numbers that a decoder's matrices are kept in while it generates: those of the config's
# compute_dtype, or others.
Precision = Literal["trained", "float32", "bfloat16", "int8"]
# The ids over which a target's probability is normalized.
Softmax = Literal["all", "legal"]


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Size and arithmetic of a decoder."""

    layers: int = 12
    """Transformer layers."""
    heads: int = 16
    """Attention heads of each layer."""
    head_width: int = 64
    """Dimensions of one head."""
    width: int = 1024
    """Dimensions of the residual stream."""
    ff_width: int = 4096
    """Hidden dimensions of the gated feed-forward network."""
    dropout: float = 0.1
    """Share of the embedding and of each branch's output zeroed in training, in [0, 1)."""
    position: Literal["t5", "rope", "time"] = "t5"
    """How attention knows distances: by a learned bias (t5), or by queries and keys rotated by
    their place in the sequence (rope) or by the time that their token stands for (time), by which
    condition and target run side by side."""
    relative_buckets: int = 32
    """Learned relative-position values per head; even. Of t5 only."""
    relative_max_distance: int = 128
    """Distance in tokens from which the position bias is constant. Of t5 only."""
    qk_norm: bool = False
    """Normalize queries and keys, which bounds attention scores."""
    tied_embeddings: bool = False
    """The output projection is the transposed embedding, scaled by width ** -0.5."""
    attention: Literal["blocks", "flash", "cudnn"] = "blocks"
    """How training computes it: blocks of queries in plain JAX, or a kernel that keeps scores on
    the chip: flash on TPUs, cudnn on NVIDIA GPUs (bfloat16 alone; not run on one). Equal up to
    rounding; generation always uses blocks."""
    flash_block: int = 384
    """Positions of a block of scores within the kernel of flash, a multiple of 128. Equal up to
    rounding; 768 is faster where it divides the length well (docs/reference/flash_attention.md)."""
    remat: Literal["none", "dots", "products", "kernels", "full"] = "none"
    """What the backward pass recomputes to save memory: none, dots (all but matrix products and
    attention kernels), products (all but attention kernels, what flash is given, and the wide
    products of the feed-forward network), kernels (all but attention kernels) or full (everything
    within a layer)."""
    scan_layers: bool = True
    """Compile one layer for all of them; otherwise each by itself, which takes longer to compile
    and a tenth less time a step on a CPU. Equal up to rounding."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of matrix products; parameters, normalization, softmax and loss are float32."""

    def __post_init__(self) -> None:
        check = functools.partial(check_fields, self, "--model.decoder", between=" ")
        check("layers heads head_width width ff_width", lambda x: x >= 1, "at least 1")
        check("dropout", lambda x: 0 <= x < 1, "a share in [0, 1); 0 turns it off")
        check("flash_block", lambda x: x >= 128 and x % 128 == 0, "a positive multiple of 128")
        even = "an even number of at least 2; T5 uses 32"
        check("relative_buckets", lambda x: x >= 2 and x % 2 == 0, even)
        buckets = self.relative_buckets
        most = f"more than half of --model.decoder.relative-buckets {buckets}; T5 uses 128 with 32"
        check("relative_max_distance", lambda x: x > buckets // 2, most)
        if self.attention == "cudnn":
            self._check_cudnn()
        if self.is_rotary:
            flag = f"--model.decoder.position {self.position}"
            pairs = f"an even number with {flag}, which rotates pairs"
            check("head_width", lambda x: x % 2 == 0, f"{pairs} of channels")

    def _check_cudnn(self) -> None:
        flag = "--model.decoder.attention cudnn"
        if self.compute_dtype != "bfloat16":
            remedy = "add --model.decoder.compute-dtype bfloat16 or choose blocks"
            raise InputError(f"{flag}: cuDNN multiplies no {self.compute_dtype}; {remedy}")
        if self.head_width % 8 or self.head_width > 128:
            width = f"--model.decoder.head-width {self.head_width}"
            raise InputError(f"{width}: expected a multiple of 8 up to 128 with {flag}")

    @property
    def is_rotary(self) -> bool:
        """Whether queries and keys are rotated."""
        return self.position != "t5"


@dataclasses.dataclass(frozen=True)
class StageModelConfig:
    """Everything that a trained stage needs to be used: the config of a "stage" model folder."""

    stage: StageConfig
    """Which tokens it reads and writes."""
    decoder: DecoderConfig
    """The network."""

    def __post_init__(self) -> None:
        is_timed = self.decoder.position == "time"
        is_told = self.stage.name == "coarse" and self.stage.reads_semantic
        if is_timed and is_told and self.stage.deduplicate:
            why = "de-duplicated semantic tokens do not tell when they are spoken"
            remedy = "choose --model.stage.no-deduplicate or --model.decoder.position rope"
            raise InputError(f"--model.decoder.position time: {why}; {remedy}")


@dataclasses.dataclass(frozen=True)
class StageTrainConfig:
    """What is optimized besides the cross entropy, and in how many parts."""

    z_loss_weight: float = 1e-4
    """Weight of the squared log of the softmax normalizer, as in t5x; 0 turns it off."""
    micro_batches: int = 1
    """Parts of a batch, computed one after the other to save memory; divides the batch."""
    softmax: Softmax = "all"
    """Over which ids a target's probability is normalized: all of the stage, or those that its
    level admits, from which generation draws; with many levels that saves most of the output's
    arithmetic. The model is of the same form."""

    def __post_init__(self) -> None:
        if not 0 <= self.z_loss_weight < float("inf"):
            raise InputError(f"train.z_loss_weight = {self.z_loss_weight}: expected finite, >= 0")
        if self.micro_batches < 1:
            raise InputError(f"train.micro_batches = {self.micro_batches}: expected at least 1")
