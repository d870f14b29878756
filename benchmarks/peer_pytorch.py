"""Decoding speed of lucidrains' audiolm-pytorch 2.4.0, semantic stage, random weights.

PYTHON benchmarks/peer_pytorch.py --width 512 --layers 6 --rows 1     a JSON line

`benchmarks/generate.py --audiolm-pytorch PYTHON` calls it; PYTHON is that of an environment which
has the package. Two of its imports are not needed for decoding and cannot be had everywhere:
fairseq, which Python 3.11 does not import, and the width of a T5 that is downloaded; both are
replaced. A step is what 32 more tokens cost beyond the first after the same prompt.
"""

import argparse
import contextlib
import io
import json
import statistics
import sys
import time
from unittest.mock import MagicMock


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    for name, size in (("width", 512), ("layers", 6), ("codes", 1024), ("rows", 1)):
        parser.add_argument(f"--{name}", type=int, default=size)
    for name, size in (("prompt", 250), ("steps", 32), ("turns", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=size)
    options = parser.parse_args()

    sys.modules["fairseq"] = MagicMock()
    import torch
    from audiolm_pytorch import audiolm_pytorch as theirs

    theirs.get_encoded_dim = lambda *_, **__: options.width
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    model = theirs.SemanticTransformer(
        dim=options.width,
        depth=options.layers,
        heads=options.width // 64,
        num_semantic_tokens=options.codes,
        has_condition=False,
    )
    wrapper = theirs.SemanticTransformerWrapper(transformer=model.eval(), unique_consecutive=False)
    prompt = torch.randint(0, options.codes, (options.rows, options.prompt))

    def seconds(tokens: int) -> float:
        start = time.perf_counter()
        with torch.inference_mode(), contextlib.redirect_stderr(io.StringIO()):
            wrapper.generate(max_length=options.prompt + tokens, prime_ids=prompt)
        return time.perf_counter() - start

    seconds(2)
    steps = [
        (seconds(options.steps + 1) - seconds(1)) / options.steps for _ in range(options.turns)
    ]
    step = statistics.median(steps)
    count = sum(p.numel() for p in model.parameters())
    print(
        json.dumps(
            {"rows": options.rows, "decode_tokens_per_second": options.rows / step,
             "seconds_per_step": step, "parameters": count, "torch": torch.__version__}
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
