"""Programs made ready beside the hearing of the prompt: all that are needed, and no other sound."""

import threading

import jax
import numpy as np
from support.tiny_models import voice, write_tiny_bundle

from audiolm_jax.generation import decode, loop, rehearsal
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.pipeline import Generator
from audiolm_jax.stages import BOS, SEP, legal_ids

CONFIG = GenerationConfig(context_seconds=1.0, first_seconds=0.2)
PROGRAMS = (loop.embed, loop.prompt_layer, loop.empty_caches, loop.insert, loop.advance)


def first_pieces(generator, prompt):
    pieces = generator.stream(prompt, 0.6, 3)
    return np.concatenate([next(pieces), next(pieces)])


def test_the_first_sound_needs_no_program_more(tmp_path, monkeypatch):
    # Of units without their repeats nobody knows the number before they are heard.
    bundle = load_bundle(write_tiny_bundle(tmp_path, timed=("semantic", "coarse")))
    monkeypatch.setattr(rehearsal, "_cores", lambda: 2)
    monkeypatch.setattr(decode, "BUCKET", 16)  # so that lengths of a second show
    threads, begin = [], threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda t: (threads.append(t), begin(t)))
    prompt = voice(1.0, 130)
    generator = Generator(bundle, CONFIG)
    generator.rehearse([len(prompt)], 0.6, is_streamed=True)
    (thread,) = threads
    thread.join()
    counts = [program.count for program in PROGRAMS]
    decodes = bundle.codec._jit_decode.count
    assert min(counts) > 0
    found = first_pieces(generator, prompt)
    assert [program.count for program in PROGRAMS] == counts
    assert bundle.codec._jit_decode.count == decodes
    np.testing.assert_array_equal(found, first_pieces(Generator(bundle, CONFIG), prompt))


def test_with_one_core_there_is_none(tiny_bundle, monkeypatch):
    monkeypatch.setattr(rehearsal, "_cores", lambda: 1)
    monkeypatch.setattr(threading, "Thread", None)
    Generator(load_bundle(tiny_bundle), CONFIG).rehearse([16000], 1.0, is_streamed=False)


def test_a_rehearsed_stage_writes_legal_tokens_without_a_step(tiny_bundle, monkeypatch):
    decoder = Generator(load_bundle(tiny_bundle), CONFIG)._decoders["coarse"].rehearsing()
    stage, asked = decoder.config.stage, []
    monkeypatch.setattr(loop, "advance", _noting(asked))
    table = legal_ids(stage)
    levels = stage.coarse_levels
    prompt = np.array([BOS, SEP], np.int32)
    (found,) = decoder.generate([prompt], [0], [6], _keys(1), CONFIG.coarse, [False])
    assert len(found.ids) == 6
    assert all(table[i % levels][token] for i, token in enumerate(found.ids))
    assert not found.ended
    assert [list(until) for until in asked] == [[0] * len(asked[0])]


def _noting(asked):
    advance = loop.advance

    def note(weights, table, request, carry, until, **options):
        asked.append(until)
        return advance(weights, table, request, carry, until, **options)

    return note


def _keys(rows):
    return jax.random.split(jax.random.key(0), rows)
