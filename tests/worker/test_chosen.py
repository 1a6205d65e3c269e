"""A job's models: chosen when it is split, kept by all of its pieces, and an error where a worker has others."""

import io
import json

import numpy as np
import pytest
import torch

from shared.catalog import Catalog, ModelEntry
from shared.jobs import Status
from tests.support.standins import StandInRestorer, StandInVocoder
from tests.worker.test_steps import decoded, noise, wav
from worker.engine import Engine
from worker.engine.devices import Devices
from worker.engine.once import Once
from worker.engine.served import serve_restorer, serve_vocoder
from worker.models.plain import PlainBackend


class LouderRestorer(StandInRestorer):
    def __init__(self, factor):
        self.factor, self.seeds = factor, []

    def restore(self, padded, conditions):
        self.seeds += [one.seed for one in conditions]
        return self.factor * super().restore(padded, conditions)


class LouderVocoder(StandInVocoder):
    def __init__(self, factor):
        self.factor = factor

    def vocode(self, mel, spans):
        return self.factor * super().vocode(mel, spans)


FACTORS = {"once": 1.0, "twice": 2.0, "v-once": 1.0, "v-half": 0.5}


def catalog(*names, **more):
    kinds = {True: "VoiceFixerVocoder", False: "VoiceFixerRestorer"}
    return Catalog(tuple(ModelEntry(name, kinds[name.startswith("v-")], **more) for name in names))


def engine_of(names):
    """An engine whose models multiply by what their names say."""
    devices, backend = Devices(), PlainBackend()
    device = devices.open(torch.device("cpu"), threads=1, most=1)
    made = {
        name: LouderVocoder(FACTORS[name]) if name.startswith("v-") else LouderRestorer(FACTORS[name]) for name in names
    }
    restorers = {
        name: Once(lambda one=one: serve_restorer(one, backend, device, most=1))
        for name, one in made.items()
        if isinstance(one, LouderRestorer)
    }
    vocoders = {
        name: Once(lambda one=one: serve_vocoder(one, backend, device, most=1))
        for name, one in made.items()
        if isinstance(one, LouderVocoder)
    }
    return Engine(devices, restorers=restorers, vocoders=vocoders), made


@pytest.fixture
def serving(bench):
    """Make a bench whose worker has these models; by default all."""
    engines = []

    def make(*names, **entries):
        names = names or tuple(FACTORS)
        worker = bench()
        engine, worker.made = engine_of(names)
        engines.append(engine)
        worker.ctx.engine, worker.ctx.catalog = engine, catalog(*names, **entries)
        return worker

    yield make
    for engine in engines:
        engine.close()


def audio_of(worker, job):
    worker.run()
    return decoded(worker.result(job))[0]


def test_a_job_gets_the_models_that_it_names(serving):
    worker, data = serving(), wav(noise(40_000))
    plain = audio_of(worker, worker.submit(data))
    for named, factor in [
        ({"restorer": "twice"}, 2.0),
        ({"vocoder": "v-half"}, 0.5),
        ({"restorer": "twice", "vocoder": "v-half"}, 1.0),
        ({"restorer": "once", "vocoder": "v-once"}, 1.0),
    ]:
        np.testing.assert_allclose(audio_of(worker, worker.submit(data, **named)), factor * plain, rtol=1e-5)


def test_stages_alone_take_their_model_by_name_too(serving):
    worker = serving()
    made = worker.submit(wav(noise(50_000)), stages="restore", restorer="twice")
    worker.run()
    mel = np.load(io.BytesIO(worker.result(made)))
    plain = worker.submit(wav(noise(50_000)), stages="restore")
    worker.run()
    np.testing.assert_array_equal(mel, 2 * np.load(io.BytesIO(worker.result(plain))))
    loud, quiet = (worker.submit(worker.result(made), stages="vocode", vocoder=name) for name in ("v-once", "v-half"))
    np.testing.assert_allclose(audio_of(worker, quiet), audio_of(worker, loud) / 2, atol=2**-14)


def test_all_pieces_of_a_job_go_by_what_its_split_chose(serving):
    worker = serving()
    data = wav(noise(300_000))
    expected = audio_of(worker, worker.submit(data))
    job = worker.submit(data)
    worker.step()
    worker.ctx.catalog = Catalog((*catalog("twice", "once", "v-half", "v-once").entries,))
    np.testing.assert_array_equal(audio_of(worker, job), expected)


def test_a_job_that_is_split_again_keeps_its_models(serving):
    worker = serving()
    data = wav(noise(300_000))
    expected = audio_of(worker, worker.submit(data))
    job = worker.submit(data)
    while worker.next().kind != "vocode":
        worker.step()
    worker.store.delete(f"jobs/{job}/work/pcm.1")
    worker.ctx.catalog = Catalog((*catalog("twice", "once", "v-half", "v-once").entries,))
    np.testing.assert_array_equal(audio_of(worker, job), expected)


def test_a_plan_from_before_means_the_defaults(serving):
    worker = serving()
    data = wav(noise(100_000))
    expected = audio_of(worker, worker.submit(data))
    job = worker.submit(data, restorer="twice")
    worker.step()
    key = f"w:job:{{{job}}}:won"
    plan = json.loads(worker.client.hget(key, "plan"))
    assert (plan.pop("restorer"), plan.pop("vocoder")) == ("twice", "v-once")
    worker.client.hset(key, "plan", json.dumps(plan))
    np.testing.assert_array_equal(audio_of(worker, job), expected)


@pytest.mark.parametrize(
    ("stage", "steps", "asked"),
    [("split", 0, {"restorer": "other"}), ("restore", 1, {"restorer": "twice"}), ("vocode", 2, {"vocoder": "v-half"})],
)
def test_a_worker_without_the_model_fails_the_job_and_says_what_to_do(serving, stage, steps, asked):
    worker = serving()
    job = worker.submit(wav(noise(50_000)), **asked)
    for _ in range(steps):
        worker.step()
    others = ("once", "v-once")
    worker.ctx.engine.close()
    worker.ctx.engine, worker.ctx.catalog = engine_of(others)[0], catalog(*others)
    worker.run()
    error = worker.records.get(job).error
    assert (error.code, error.stage) == ("model_unknown", stage)
    assert next(iter(asked.values())) in error.message
    assert "VFQ_CONFIG" in error.message
    good = worker.submit(wav(noise(50_000)))
    worker.run()
    assert worker.records.get(good).status is Status.SUCCEEDED


def test_the_seed_of_an_entry_is_added_to_the_jobs(serving):
    worker = serving("once", "v-once", seed=40)
    worker.submit(wav(noise(50_000)), mode=2, seed=2)
    worker.submit(wav(noise(50_000)), mode=2, seed=2**63 - 1)
    worker.run()
    assert worker.made["once"].seeds == [42, 39]


def test_as_many_pieces_are_out_as_the_largest_batch_of_any_model_needs(serving):
    worker = serving(max_batch_size=5)
    worker.submit(wav(noise(441 * 128 * 12)))
    worker.step()
    assert len(worker.waiting) == 10
