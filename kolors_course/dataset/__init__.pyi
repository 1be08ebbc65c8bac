from .blur import blur_of
from .buckets import assign_bucket, cropped_share, propose_buckets, step_for
from .check import check_dataset
from .filters import Filter
from .fix import Repair, fix_dataset
from .juicer import export_data_juicer
from .pixels import (
    MicroConditions,
    check_divisible,
    open_picture,
    prepare_image,
    upright_rgb,
)
from .reader import Dataset, Sample, dataset_hash, read_dataset
from .report import Finding, Report, Spread
from .sheet import thumbnail_sheet
from .writer import write_dataset

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
    "blur_of",
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
