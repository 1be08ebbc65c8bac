"""Files of torch.save: what is read, and what is refused on every torch."""

import pickle
import tarfile

import pytest
import torch

from kolors_course.errors import CourseError
from kolors_course.lora import read_lora
from kolors_course.platform.pickles import load_pickle


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("mmap", [True, False])
def test_tensors_come_back(tmp_path, zipped, mmap):
    torch.save({"a": torch.arange(3)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    assert torch.equal(load_pickle(tmp_path / "x.pt", mmap)["a"], torch.arange(3))


def test_the_tar_format_is_refused(tmp_path):
    with tarfile.open(tmp_path / "x.ckpt", "w") as file:
        file.add(__file__, "storages")
    with pytest.raises(pickle.UnpicklingError, match="tar"):
        load_pickle(tmp_path / "x.ckpt")
    with pytest.raises(CourseError, match="not a torch checkpoint"):
        read_lora(tmp_path / "x.ckpt", alpha=4)
