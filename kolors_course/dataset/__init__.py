"""Folders of pictures and captions, read into checked samples.

`read_dataset` is strict and stops with one clear line; `check_dataset` applies the same rules and reports
everything; `prepare_image` turns one picture into what the VAE and the U-Net need; `write_dataset` writes
the camp's layout.
"""

from kolors_course.dataset.check import Report, Spread, check_dataset
from kolors_course.dataset.pixels import (
    MicroConditions,
    check_divisible,
    open_picture,
    prepare_image,
    upright_rgb,
)
from kolors_course.dataset.reader import Dataset, Sample, dataset_hash, read_dataset
from kolors_course.dataset.writer import write_dataset

__all__ = [
    "Dataset",
    "MicroConditions",
    "Report",
    "Sample",
    "Spread",
    "check_dataset",
    "check_divisible",
    "dataset_hash",
    "open_picture",
    "prepare_image",
    "read_dataset",
    "upright_rgb",
    "write_dataset",
]
