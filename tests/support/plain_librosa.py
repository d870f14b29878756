"""librosa without what numba compiles at its first import: half a minute, and unneeded here."""

import os
import unittest.mock

os.environ["NUMBA_DISABLE_JIT"] = "1"

import numba


def _uncompiled(*signatures, **options):
    return lambda function: function


with unittest.mock.patch.multiple(numba, guvectorize=_uncompiled, vectorize=_uncompiled):
    import librosa
    import librosa.core.audio
    import librosa.core.pitch
    import librosa.util.utils

__all__ = ["librosa"]
