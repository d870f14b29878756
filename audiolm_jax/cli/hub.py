"""`audiolm push` and `audiolm pull`: bundles to the Hugging Face hub and from it."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.artifacts.output_path import check_replaced_folder
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.generation.hub import HubName, hub_name
from audiolm_jax.generation.hub import pull as pull_bundle
from audiolm_jax.generation.hub import push as push_bundle


@dataclasses.dataclass(frozen=True)
class PushOptions:
    """Publish a bundle on the Hugging Face hub, verified, as one commit; needs the extra `hub` and
    a token that may write (HF_TOKEN, or `hf auth login`).

    Do not publish a voice without its owner's consent.
    """

    bundle: tyro.conf.Positional[Path]
    """Bundle folder, as `audiolm bundle` writes it, or its archive, as `audiolm release` does."""
    name: tyro.conf.Positional[str]
    """OWNER/NAME; the repository is made if there is none."""
    private: bool = False
    """Make the repository one that only its owners see; one that is there stays as it is."""


@dataclasses.dataclass(frozen=True)
class PullOptions:
    """Fetch a bundle of the Hugging Face hub into a folder, whole and verified or not at all; needs
    the extra `hub`. Interrupted, it goes on where it was when given again."""

    name: tyro.conf.Positional[str]
    """OWNER/NAME, or OWNER/NAME@REVISION: a branch, a tag or a commit."""
    out: Path
    """Bundle folder to write."""


def push(arguments: Sequence[str]) -> None:
    """`audiolm push`."""
    options = parse(PushOptions, arguments, "audiolm push")
    name = _named(options.name)
    if name.revision is not None:
        raise InputError(f"{name}: expected OWNER/NAME; a commit goes to the main branch")
    done = push_bundle(options.bundle, name, options.private)
    if done.left_here:
        print(f"not of the bundle, left here: {', '.join(done.left_here)}", file=sys.stderr)
    print(f"{done.address}: bundle {done.fingerprint[:16]}, revision {done.commit}")
    print(f"audiolm continue PROMPT.wav --models {name}@{done.commit} --out out.wav")


def pull(arguments: Sequence[str]) -> None:
    """`audiolm pull`."""
    options = parse(PullOptions, arguments, "audiolm pull")
    name, out = _named(options.name), options.out
    check_replaced_folder(out, BUNDLE_JSON)
    with only_writer(out, is_replaced=True):
        fingerprint, commit = pull_bundle(name, out)
    print(f"{out}: bundle {fingerprint[:16]} of {name.repo}, revision {commit}")


def _named(text: str) -> HubName:
    if (name := hub_name(text)) is None:
        raise InputError(f"{text}: expected OWNER/NAME or OWNER/NAME@REVISION, as on the hub")
    return name
