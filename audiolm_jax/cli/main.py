"""`audiolm`: finds the verb, runs it, and turns bad input into one line and a status."""

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from audiolm_jax.artifacts.refusals import of_open_files, refusal
from audiolm_jax.audio.names import one_line
from audiolm_jax.cli.dispatch import Verb, dispatch, table
from audiolm_jax.errors import InputError, LostHostError

VERBS = {
    "demo": Verb("demo:demo", "the whole road in minutes, ends in a page to listen to"),
    "audit": Verb("audit:audit", "every bad file of a folder by name and reason; hours, speakers"),
    "index": Verb("index:index", "decode a folder once, on many machines; what follows opens it"),
    "prepare": Verb(
        "prepare:prepare", "long recordings into short clips, cut at pauses, one level"
    ),
    "pack": Verb("pack:pack", "recordings into few large files, lossless, any crop read at once"),
    "train": Verb("configured:train", "a codec, encoder, k-means or language model, as configured"),
    "tokenize": Verb("configured:tokenize", "audio to a token store; restartable"),
    "finetune": Verb("finetune:finetune", "a bundle tuned to a voice, by minutes of recordings"),
    "import": Verb("import_model:import_model", "public weights into a model folder"),
    "items": Verb("items:items", "phones to tell apart in an ABX test, from alignments or flite"),
    "bundle": Verb("bundle:bundle", "trained parts into one folder that can be shared"),
    "release": Verb("release:release", "a trained model or a bundle as an archive to publish"),
    "push": Verb("hub:push", "publish a bundle on the Hugging Face hub"),
    "pull": Verb("hub:pull", "a bundle of the Hugging Face hub into a folder, verified"),
    "continue": Verb("generate:continue_", "go on from a recording in its own voice"),
    "sample": Verb("generate:sample", "sound from nothing"),
    "revoice": Verb("generate:revoice", "the same words in a sampled voice"),
    "listen": Verb("listen:listen", "what was made as a page to listen to, with the words in it"),
    "serve": Verb("serve:serve", "a page in the browser: record a prompt, hear it go on"),
    "detect": Verb("detect:detect", "whether recordings were generated, and where in them"),
    "codec": Verb("codec:codec", "encode, decode or roundtrip audio with a trained codec"),
    "evaluate": Verb("configured:evaluate", "measure parts on held-out audio, write the page"),
    "plan": Verb("plan:plan", "a training step on TPU slices or GPUs: memory, time, cost"),
    "info": Verb("info:info", "what a run, model, bundle, token store or sound is and came from"),
}

FLAGS = ("--debug", "--quiet", "--json-log")  # of every verb
USAGE = """usage: audiolm VERB [ARGUMENT ...] [--debug] [--quiet] [--json-log] [--trust MODULE]

AudioLM in JAX: learns to continue speech and music from raw audio alone.

{verbs}

`audiolm VERB --help` shows every field of a verb with its meaning and default. `--trust MODULE`
lets models run code of a package that is not this one; without it those that need it are refused.
`--quiet` shows warnings and errors alone; `--json-log` logs lines of JSON on standard error.
Exit status: 0 done, 2 bad input (one line on standard error), 130 stopped by Ctrl-C, 75 by SIGTERM
after saving and 124 stuck without progress (run the same command again to go on), 1 a plan that
does not fit, another host that stopped answering, or a defect of the program: --debug shows the
traceback. NO_COLOR is honoured.
docs/reference/command_line.md says more.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug, quiet, as_json = (flag in words for flag in FLAGS)
    words, modules = _without_trust([word for word in words if word not in FLAGS])
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(verbs=table(VERBS)), end="")
        return 0 if words else 2
    name = f"audiolm {words[0]}" if words[0] in VERBS else "audiolm"
    interrupts: list[int] = []
    try:
        # Libraries below write informational lines of their own; a user's own setting wins.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        from audiolm_jax.cli.console import show_log

        show_log(quiet, as_json)
        if isinstance(sys.stdout, io.TextIOWrapper):  # names may be in no encoding, or in another
            sys.stdout.reconfigure(errors="backslashreplace")
        from audiolm_jax.artifacts.outside import trusting

        with _noting_interrupts(interrupts), trusting(*modules):
            status = dispatch("audiolm", VERBS, words)
            sys.stdout.flush()
            return status
    except KeyboardInterrupt:
        return _stopped(words[0])
    except InputError as error:
        if debug:
            raise
        return _ended(one_line(f"{name}: {of_open_files(error) or error}"), 2)
    except LostHostError as error:
        if debug:
            raise
        return _ended(one_line(f"{name}: {error}"), 1)
    except BrokenPipeError:
        _drop_output()
        return 1
    except Exception as error:
        if interrupts:  # some libraries make another exception of it
            return _stopped(words[0])
        if debug:
            raise
        if line := refusal(error) or _missing(error):
            _ended(one_line(f"{name}: {line}"), 2)
            try:
                sys.stdout.flush()
            except OSError:  # it is what cannot be written
                _drop_output()
            return 2
        text = " ".join(str(error).split())[:500]
        what = f"unexpected {type(error).__name__}: {text} (--debug shows where)"
        return _ended(f"{name}: {what}", 1)


def _without_trust(words: list[str]) -> tuple[list[str], list[str]]:
    """(The other words, the modules that `--trust` names.)"""
    rest, modules, given = list[str](), list[str](), iter(words)
    for word in given:
        if word == "--trust":
            modules.append(next(given, ""))
        elif word.startswith("--trust="):
            modules.append(word.removeprefix("--trust="))
        else:
            rest.append(word)
    return rest, modules


def program() -> None:
    """`main` as a process. One that was asked to stop has saved what it will, and waits for no
    thread that still reads."""
    try:
        status = main()
    except SystemExit as stopped:
        if stopped.code not in (75, 130):
            raise
        status = int(stopped.code)
    if status in (75, 130):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _drop_output() -> None:
    """Of standard output what is not written yet: at its end Python would try once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _missing(error: Exception) -> str | None:
    """One line if what failed is that a package or a device is not there."""
    if isinstance(error, ModuleNotFoundError):
        from audiolm_jax.cli.extras import what_brings

        return what_brings(error.name or "")
    if "jax" not in sys.modules or not os.environ.get("JAX_PLATFORMS"):
        return None  # not to begin with devices now that something else has failed
    from audiolm_jax.cli.start import missing_device

    return missing_device()


def _stopped(verb: str) -> int:
    return _ended(f"audiolm {verb}: stopped, run again to go on", 130)


def _ended(text: str, status: int) -> int:
    from audiolm_jax.cli.console import say_last

    say_last(text, status)
    return status


@contextlib.contextmanager
def _noting_interrupts(seen: list[int]) -> Iterator[None]:
    """Notes each Ctrl-C that is about to be raised as a KeyboardInterrupt."""
    usual = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or usual is not signal.default_int_handler:
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
