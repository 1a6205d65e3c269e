from pathlib import Path

import pytest

from worker.models.files import RESTORER_FILE, VOCODER_FILE
from worker.models.layout import expected_layout

DATA = Path(__file__).parent / "data"


def published(table):
    """The keys of the published files as they were read out of them."""
    rows = [line.split("\t") for line in (DATA / table).read_text().splitlines()]
    return {key: (() if shape == "scalar" else tuple(map(int, shape.split("x"))), kind) for key, shape, kind in rows}


@pytest.mark.parametrize(
    ("file", "table", "count"),
    [(RESTORER_FILE, "vf-ckpt-keys.tsv", 894), (VOCODER_FILE, "vocoder-ckpt-keys.tsv", 233)],
)
def test_the_layout_is_that_of_the_published_file(file, table, count):
    layout = expected_layout(file, {})
    found = {key: (spec.shape, str(spec.dtype).removeprefix("torch.")) for key, spec in layout.items()}
    assert found == published(table)
    assert len(found) == count


def test_a_file_of_old_torchlibrosa_has_its_two_inverse_kernels_instead_of_the_window():
    new = expected_layout(RESTORER_FILE, {})
    old = expected_layout(RESTORER_FILE, {"f_helper.istft.reverse.weight": None})
    assert set(new) - set(old) == {"f_helper.istft.ola_window"}
    assert {key: old[key].shape for key in set(old) - set(new)} == {
        "f_helper.istft.reverse.weight": (1023, 1025, 1),
        "f_helper.istft.overlap_add.weight": (2048, 1, 2048, 1),
    }
