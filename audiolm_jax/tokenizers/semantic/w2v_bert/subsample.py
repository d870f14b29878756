"""Log-mel frames at 100 Hz to features at 25 Hz, aligned to whole tokens.

Frame j of the spectrogram is centered on samples [160 j, 160 (j + 1)) (audio/spectral). Each
convolution has stride 2 in time and kernel 4 with one frame of padding on either side, so token i
is centered on frames 4i .. 4i + 3, samples [640 i, 640 (i + 1)), and sees ten frames: samples
640 i - 600 to 640 i + 1240 at 16 kHz, window included. A clip has ceil(samples / 640) tokens.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from audiolm_jax.nn.padding import valid_frames
from audiolm_jax.nn.partition import annotate, constrain
from audiolm_jax.tokenizers.semantic.w2v_bert import draws
from audiolm_jax.tokenizers.semantic.w2v_bert.config import FRAMES_PER_TOKEN

_LAYOUT = ("NHWC", "HWIO", "NHWC")  # H is time, W is mel frequency


class ConvolutionalSubsampling(nnx.Module):
    """Two 2-D convolutions of stride (2, 2) with ReLU, then a linear layer."""

    def __init__(self, bins: int, channels: int, width: int, *, rngs: nnx.Rngs) -> None:
        init = annotate(draws.he_uniform, None, None, "channels_in", "channels_out")
        bias = annotate(nnx.initializers.zeros_init(), "channels_out")
        self.kernel1 = nnx.Param(init(rngs.params(), (4, 3, 1, channels)))
        self.bias1 = nnx.Param(bias(rngs.params(), (channels,)))
        self.kernel2 = nnx.Param(init(rngs.params(), (4, 3, channels, channels)))
        self.bias2 = nnx.Param(bias(rngs.params(), (channels,)))
        inputs = channels * (-(-bins // FRAMES_PER_TOKEN))
        kernel = annotate(draws.glorot_uniform, "channels_in", "embed")
        bias = annotate(nnx.initializers.zeros_init(), "embed")
        self.out = nnx.Linear(inputs, width, kernel_init=kernel, bias_init=bias, rngs=rngs)

    def __call__(
        self, mel: Float[Array, "b t m"], lengths: Int[Array, " b"]
    ) -> tuple[Float[Array, "b u d"], Int[Array, " b"]]:
        """Features [b, ceil(t / 4), d] and valid tokens; frames beyond `lengths` count as zero."""
        x = jnp.pad(mel, ((0, 0), (0, -mel.shape[1] % FRAMES_PER_TOKEN), (0, 0)))[..., None]
        for kernel, bias in ((self.kernel1, self.bias1), (self.kernel2, self.bias2)):
            # Padding is zeroed before each convolution: biases would make it leak otherwise.
            x = jnp.where(valid_frames(lengths, x.shape[1])[:, :, None, None], x, 0)
            x = jax.lax.conv_general_dilated(
                x, kernel[...], (2, 2), ((1, 1), (1, 1)), dimension_numbers=_LAYOUT
            )
            x = jax.nn.relu(x + bias[...][None, None, None, :])
            x = constrain(x, "batch", "time", None, "channels_out")
            lengths = -(-lengths // 2)
        return self.out(x.reshape(*x.shape[:2], -1)), lengths
