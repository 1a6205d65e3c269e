import io
import time

import numpy as np

from tests.support.recordings import decoded, encoded, tone


def holds(folder, names, *, seconds=60):
    """Whether a folder soon holds these and no others: a job is tidied after it is over."""
    until = time.monotonic() + seconds
    while sorted(path.name for path in folder.iterdir()) != names and time.monotonic() < until:
        time.sleep(0.05)
    return sorted(path.name for path in folder.iterdir()) == names


def test_the_same_job_twice_gives_the_same_bytes(service):
    data = encoded(tone(60_000, channels=2), subtype="PCM_24")
    assert service.restore(data)[1] == service.restore(data)[1]


def test_mode_1_and_mode_2_run_through_the_stack(service):
    data = encoded(tone(60_000))
    plain, limited, drawn = (service.restore(data, mode=mode)[1] for mode in (0, 1, 2))
    assert len(decoded(plain)[0]) == len(decoded(limited)[0]) == len(decoded(drawn)[0]) == 60_000


def test_restore_alone_then_vocode_alone_is_the_chain(service):
    data = encoded(tone(70_001, channels=2), subtype="FLOAT")
    job, mel = service.restore(data, stages="restore")
    assert job["output"]["format"] == "npy"
    assert np.load(io.BytesIO(mel)).shape == (2, 70_001 // 441 + 1, 128)
    _, vocoded = service.restore(mel, filename="mel.npy", stages="vocode", samples=70_001, output='{"bit_depth": 32}')
    np.testing.assert_array_equal(decoded(vocoded)[0], decoded(service.restore(data)[1])[0])


def test_the_job_says_which_models_made_the_result(service):
    job, _ = service.restore(encoded(tone(5_000)))
    assert [(m["stage"], m["model_type"]) for m in job["models"]] == [
        ("restore", "SpectralGateRestorer"),
        ("vocode", "GriffinLimVocoder"),
    ]


def test_a_canceled_job_ends_and_its_working_objects_go(service):
    job = service.submit(encoded(tone(90 * 44_100)))
    while service.client.get(job["urls"]["self"]).json()["status"] == "queued":
        pass
    assert service.client.post(job["urls"]["cancel"]).status_code == 202
    job = service.wait(job)
    assert job["status"] == "canceled"
    folder = service.folder / "objects" / "jobs" / job["id"]
    assert holds(folder, ["end.json", "manifest.json", "source"])


def test_a_finished_job_leaves_source_manifest_result_and_end_and_delete_removes_them(service):
    job, _ = service.restore(encoded(tone(5_000)))
    folder = service.folder / "objects" / "jobs" / job["id"]
    assert holds(folder, ["end.json", "manifest.json", "receipt.1.json", "result.1", "source"])
    assert service.client.delete(job["urls"]["self"]).status_code == 204
    assert not folder.exists()
    assert service.client.get(job["urls"]["self"]).status_code == 404


def test_interactive_jobs_overtake_bulk_ones(service):
    data = encoded(tone(20 * 44_100))
    bulk = [service.submit(data, priority="bulk") for _ in range(4)]
    urgent = service.submit(encoded(tone(5_000)), priority="interactive")
    urgent = service.wait(urgent)
    last = max(service.wait(job)["completed_at"] for job in bulk)
    assert urgent["completed_at"] < last


def test_a_json_job_restores_an_object_that_is_in_storage(service):
    folder = service.folder / "objects" / "incoming"
    folder.mkdir(exist_ok=True)
    (folder / "tape.wav").write_bytes(encoded(tone(4_000)))
    answer = service.client.post("/v1/jobs", json={"input": {"key": "incoming/tape.wav"}, "output": {"format": "flac"}})
    job = service.wait(answer.json())
    assert job["output"]["format"] == "flac"
    assert service.client.delete(job["urls"]["self"]).status_code == 204
    assert (folder / "tape.wav").exists()
