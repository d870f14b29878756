"""`audiolm`: finds the verb, runs it, and turns bad input into one line and a status."""

import importlib
import os
import sys
from collections.abc import Sequence

from audiolm_jax.errors import InputError

# verb -> module of `commands`, its function, and what the verb does
VERBS = {
    "demo": ("demo", "demo", "the whole road in minutes, ends in a page to listen to"),
    "audit": ("audit", "audit", "every bad file of a folder by name and reason; hours, speakers"),
    "train": (
        "train",
        "train",
        "codec, semantic encoder, k-means or language model, as configured",
    ),
    "tokenize": ("train", "tokenize", "audio to a token store; restartable"),
    "import": ("import_model", "import_model", "public weights into a model folder"),
    "items": ("items", "items", "phones to tell apart in an ABX test, from alignments or flite"),
    "bundle": ("bundle", "bundle", "trained parts into one folder that can be shared"),
    "release": ("release", "release", "one trained model as a small archive to publish"),
    "continue": ("generate", "continue_", "go on from a recording in its own voice"),
    "sample": ("generate", "sample", "sound from nothing"),
    "revoice": ("generate", "revoice", "the same words in a sampled voice"),
    "codec": ("codec", "codec", "encode, decode or roundtrip audio with a trained codec"),
    "evaluate": ("train", "evaluate", "measure all parts on held-out audio, write the report page"),
    "plan": ("plan", "plan", "compile a training step for TPU slices: memory, traffic, time"),
    "info": ("info", "info", "what a run, model, bundle, token store or wav is and came from"),
}

USAGE = """usage: audiolm VERB [ARGUMENT ...] [--debug]

AudioLM in JAX: learns to continue speech and music from raw audio alone.

{verbs}

`audiolm VERB --help` shows every field of a verb with its meaning and default.
Exit status: 0 done, 2 bad input (one line on standard error), 75 interrupted after saving and 124
stuck without progress (run the same command again to go on), 1 a plan that does not fit, or a
defect of the program: --debug shows the traceback.
"""


def usage() -> str:
    """The text of `audiolm --help`."""
    width = max(map(len, VERBS))
    return USAGE.format(
        verbs="\n".join(f"  {verb:{width}}  {text}" for verb, (_, _, text) in VERBS.items())
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help"):
        print(usage(), end="")
        return 0 if words else 2
    verb, rest = words[0], words[1:]
    # Libraries below write informational lines of their own; a user's own setting wins.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if verb not in VERBS:
            raise InputError(f"unknown verb {verb!r}; audiolm --help lists them")
        module, function, _ = VERBS[verb]
        command = getattr(importlib.import_module(f"audiolm_jax.cli.{module}"), function)
        return command(rest) or 0
    except InputError as error:
        if debug:
            raise
        print(f"audiolm {verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"audiolm {verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        text = " ".join(str(error).split())[:500]
        print(
            f"audiolm {verb}: unexpected {type(error).__name__}: {text} (--debug shows where)",
            file=sys.stderr,
        )
        return 1
