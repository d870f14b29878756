"""Which files training never sees: a hash gives every one a place, and the lowest are held out."""

import hashlib
import os
from collections.abc import Mapping

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError


def folder_depth(split_by: str | int) -> int:
    """How many folders below the audio folder name what is held out as a whole; 0 for files."""
    return {"file": 0, "speaker": 1}[split_by] if isinstance(split_by, str) else split_by


def place_of(path: str, sha256: str, config: AudioDataConfig) -> float:
    """Place of a file in [0, 100), by its content or the name of its folder. The whole part is the
    hash modulo 100: nothing else counts for a whole percent."""
    if depth := folder_depth(config.split_by):
        folders = path.split("/")[:-1][:depth]
        if len(folders) < depth:
            raise InputError(
                f"--data.split-by = {config.split_by}: {config.audio_dir}/{path} lies in "
                f"{len(folders)} folders, expected {depth} or more; move it or leave it out with "
                "--data.exclude"
            )
        sha256 = hashlib.sha256(os.fsencode("/".join(folders))).hexdigest()
    number = int(sha256[:16], 16)
    return number % 100 + number // 100 % 10**9 / 10**9


def heldout_below(config: AudioDataConfig, seconds: Mapping[float, float]) -> float:
    """The place from which on files are trained on, given the seconds of audio at each place."""
    if config.heldout_minutes is None:
        return float(config.heldout_percent)
    total = 0.0
    for place, here in sorted(seconds.items()):
        if total >= 60 * config.heldout_minutes:
            return place
        total += here
    return 100.0
