"""Folders of pictures and captions, read into checked samples.

`read_dataset` is strict and stops with one clear line; `check_dataset` applies the same rules and reports
everything; `fix_dataset` mends what it safely can into a new folder; `propose_buckets` and `assign_bucket` find
training sizes that cut off little; `prepare_image` turns one picture into what the VAE and the U-Net need;
`write_dataset` writes the camp's layout.
"""

from kolors_course.dataset.buckets import assign_bucket, cropped_share, propose_buckets, step_for
from kolors_course.dataset.check import check_dataset
from kolors_course.dataset.filters import Filter
from kolors_course.dataset.fix import Repair, fix_dataset
from kolors_course.dataset.juicer import export_data_juicer
from kolors_course.dataset.pixels import (
    MicroConditions,
    check_divisible,
    open_picture,
    prepare_image,
    upright_rgb,
)
from kolors_course.dataset.reader import Dataset, Sample, dataset_hash, read_dataset
from kolors_course.dataset.report import Finding, Report, Spread
from kolors_course.dataset.sheet import thumbnail_sheet
from kolors_course.dataset.writer import write_dataset

__all__ = [
    "Dataset",
    "Filter",
    "Finding",
    "MicroConditions",
    "Repair",
    "Report",
    "Sample",
    "Spread",
    "assign_bucket",
    "check_dataset",
    "check_divisible",
    "cropped_share",
    "dataset_hash",
    "export_data_juicer",
    "fix_dataset",
    "open_picture",
    "prepare_image",
    "propose_buckets",
    "read_dataset",
    "step_for",
    "thumbnail_sheet",
    "upright_rgb",
    "write_dataset",
]
