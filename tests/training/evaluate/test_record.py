"""Files of runs."""

import numpy as np
import pytest

from kstep_training.evaluate.record import read_record


def test_a_file_that_is_no_record(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, numbers=[1])
    with pytest.raises(ValueError, match="not the record of a run"):
        read_record(path)
