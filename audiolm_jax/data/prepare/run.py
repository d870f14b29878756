"""A folder of recordings into a folder of clips, recording by recording.

What becomes of a recording depends on it and the rules alone: whatever ends a run, the next one
cuts those that are missing, and any number of workers write the same bytes.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.atomic import remove_leftovers, write_json
from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.artifacts.storage import at, remove_tree
from audiolm_jax.artifacts.writer import TakenError, only_writer
from audiolm_jax.audio.names import named, shown
from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.file_index import FileIndex
from audiolm_jax.data.index import files_of, index_of
from audiolm_jax.data.prepare.config import PrepareConfig
from audiolm_jax.data.prepare.detect import Detector
from audiolm_jax.data.prepare.recording import Record, prepare_recording
from audiolm_jax.data.prepare.report import PrepareReport, write_metadata
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.walk import BadFile
from audiolm_jax.data.workers import ALONE, Worker
from audiolm_jax.errors import InputError

RECORDS, RULES = ".audiolm_prepare", "rules.json"
_FORMAT_VERSION = 1
_TELL_SECONDS = 10.0

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Job:
    """A recording, and where what is made of it lies."""

    clip: ClipInfo
    row: int  # of the index
    fingerprint: str
    folder: Path
    record: Path


def prepare(
    source: AudioDataConfig,
    config: PrepareConfig,
    directory: Path,
    detector: Detector,
    worker: Worker = ALONE,
    lists_all: bool = False,
) -> PrepareReport | None:
    """Writes the clips of a worker's share of the recordings, or what is left of it, and, if then
    all are there, metadata.tsv; what became of the recordings, None if some are left to others.
    InputError if another process does the same, or the folder holds something else."""
    own = directory / f"worker-{worker.number}-of-{worker.count}" if worker != ALONE else directory
    with only_writer(own, is_replaced=worker != ALONE):
        if directory.resolve().is_relative_to(at(source.source).resolve()):
            raise InputError(
                f"--out {shown(directory)}: lies in the folder that is read; choose another"
            )
        rules = {"config": dataclasses.asdict(config), "detector": detector.name}
        _begin(directory, rules | {"resampler": source.resampler, "version": _FORMAT_VERSION})
        files = files_of(source)
        # A recording is one clip here, whatever its length.
        index = index_of(files, dataclasses.replace(source, sample_rate_hz=config.sample_rate_hz))
        if not index.clips:
            raise InputError(
                f"{source.source}: none of {len(index.bad)} audio files can be used; the first: "
                f"{index.bad[0].path}: {index.bad[0].reason}"
            )
        jobs = _jobs(index.clips, index.clips.files.tolist(), rules, directory)
        _check_owned(directory, jobs)
        _write(source, config, detector, worker.share(jobs))
        records = [_read(job) for job in jobs]
        if missing := sum(record is None for record in records):
            logger.info(f"prepare: {missing} of {len(jobs)} recordings are left to other workers")
            return None
        done = [record for record in records if record is not None]
        bad = [*index.bad, *(BadFile(r.path, r.reason) for r in done if r.reason)]
        return _join(directory, config, files, jobs, done, bad, lists_all)


def _begin(directory: Path, rules: dict[str, Any]) -> None:
    """InputError if a folder holds clips cut by other rules, or something else."""
    path = directory / RECORDS / RULES
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        others = [x for x in directory.iterdir() if not x.name.startswith((".", "worker-"))]
        if others:
            raise InputError(
                f"--out {shown(directory)}: holds {shown(others[0].name)}, expected a new or empty "
                "folder, or what audiolm prepare began"
            ) from None
        write_json(path, rules, sort_keys=True)
        return
    except ValueError as error:
        raise InputError(f"{shown(path)}: damaged ({error}); delete the folder") from error
    if found != json.loads(json.dumps(rules)):
        raise InputError(
            f"--out {shown(directory)}: holds clips cut by other rules ({shown(path)}); take "
            "those, delete the folder or choose another"
        )


def _jobs(
    clips: Sequence[ClipInfo], rows: list[int], rules: dict[str, Any], directory: Path
) -> list[_Job]:
    jobs, owners = list[_Job](), dict[str, str]()
    for clip, row in zip(clips, rows, strict=True):
        folder = clip_folder(clip.path)
        if (other := owners.setdefault(folder, clip.path)) != clip.path:
            raise InputError(f"{other} and {clip.path}: would share a folder; rename one")
        key = hashlib.sha256(clip.path.encode()).hexdigest()[:24]
        mark = fingerprint([clip.path, clip.sha256, clip.source_samples, rules, _FORMAT_VERSION])
        record = directory / RECORDS / f"{key}.json"
        jobs.append(_Job(clip, row, mark, directory / named(folder), record))
    return jobs


def clip_folder(path: str) -> str:
    """Where below the output the clips of a recording lie, both as shown: in a folder of its name,
    but that no hidden one is read."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{'_' if name.startswith('.') else ''}{name}"


def _read(job: _Job) -> Record | None:
    """What became of a recording, None if it must be cut."""
    try:
        values = json.loads(job.record.read_text())
        record = Record(**values | {"clips": tuple(tuple(ms) for ms in values["clips"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return record if record.fingerprint == job.fingerprint else None


def _check_owned(directory: Path, jobs: list[_Job]) -> None:
    """InputError if there are clips of a recording that is there no more."""
    known = {job.record.name for job in jobs} | {RULES}
    for path in sorted((directory / RECORDS).glob("[0-9a-z]*.json")):
        if path.name not in known:
            try:
                gone = json.loads(path.read_text())["path"]
            except (OSError, ValueError, KeyError, TypeError):
                gone = "a recording"
            raise InputError(
                f"--out {shown(directory)}: holds clips of {gone}, which the source has no more, "
                "or which cannot be used now; delete the folder or choose another"
            )


def _write(
    source: AudioDataConfig, config: PrepareConfig, detector: Detector, jobs: Sequence[_Job]
) -> None:
    """Cuts the recordings that are not cut yet; tells how it gets on."""
    missing = [job for job in jobs if _read(job) is None]
    if len(missing) < len(jobs):
        logger.info(f"prepare: {len(jobs) - len(missing)} recordings are cut already")
    progress, stop = _Progress(missing), threading.Event()

    def work(job: _Job) -> None:
        if stop.is_set():
            return
        with contextlib.suppress(TakenError), only_writer(job.record, is_replaced=True):
            if _read(job) is None:
                _cut(source, config, detector, job)
        progress.tell(job)

    # Decoding, resampling, the networks and FLAC all release the interpreter lock.
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        # The longest first: a last one that is long would be waited for.
        order = sorted(missing, key=lambda job: -job.clip.num_samples)
        for ended in as_completed([pool.submit(work, job) for job in order]):
            ended.result()
    finally:  # who is stopped waits for no recording
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _cut(source: AudioDataConfig, config: PrepareConfig, detector: Detector, job: _Job) -> None:
    """One recording, anew, whatever there is of it."""
    seconds = job.clip.source_samples / job.clip.source_rate_hz
    try:
        with contextlib.suppress(FileNotFoundError):
            remove_tree(job.folder)
        remove_leftovers(job.record)
        try:
            record = prepare_recording(
                source, job.clip, config, detector, job.folder, job.fingerprint
            )
        except InputError as error:
            remove_tree(job.folder, may_vanish=True)
            record = Record(job.fingerprint, job.clip.path, seconds, reason=str(error))
        write_json(job.record, dataclasses.asdict(record))
    except OSError as error:
        if is_shortage(error):
            raise
        where = shown(error.filename or job.folder)
        raise InputError(f"{where}: cannot be written: {error.strerror or error}") from error


class _Progress:
    """Tells how fast this process is."""

    def __init__(self, jobs: Sequence[_Job]):
        self._total, self._hours = len(jobs), sum(self._length(job) for job in jobs)
        self._begun = self._told = time.monotonic()
        self._count, self._done, self._lock = 0, 0.0, threading.Lock()

    @staticmethod
    def _length(job: _Job) -> float:
        return job.clip.source_samples / job.clip.source_rate_hz / 3600

    def tell(self, job: _Job) -> None:
        """Counts a recording; a line now and then."""
        with self._lock:
            self._count, self._done = self._count + 1, self._done + self._length(job)
            now = time.monotonic()
            if now - self._told < _TELL_SECONDS and self._count < self._total:
                return
            self._told, elapsed = now, (now - self._begun) / 3600
            rate = self._done / max(elapsed, 1e-9)
            logger.info(
                f"prepare: {self._count:,} of {self._total:,} recordings, {self._done:.2f} h of "
                f"audio, {rate:,.1f} h an hour, {60 * (self._hours - self._done) / rate:.0f} min "
                "left"
            )


def _join(
    directory: Path,
    config: PrepareConfig,
    files: FileIndex,
    jobs: list[_Job],
    records: list[Record],
    bad: list[BadFile],
    lists_all: bool,
) -> PrepareReport:
    """Writes what tells of all clips."""
    with only_writer(directory / "metadata.tsv", is_replaced=True):
        remove_leftovers(directory / "metadata.tsv")
        rows = [files.row(job.row) for job in jobs]
        folders = [clip_folder(job.clip.path) for job in jobs]
        write_metadata(directory / "metadata.tsv", folders, rows, records)
    return PrepareReport(config, records, sorted(bad, key=lambda file: file.path), lists_all)
