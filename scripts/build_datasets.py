"""Write the ready-made LoRA data sets, one for each style that the base model lacks, 48 pictures each."""

import shutil
from pathlib import Path

from kolors_course.art import LORA_STYLES, style_pictures
from kolors_course.dataset import write_dataset

DATASETS = Path(__file__).resolve().parents[1] / "data" / "datasets"

if __name__ == "__main__":
    for seed, style in enumerate(LORA_STYLES, start=1):
        shutil.rmtree(DATASETS / style, ignore_errors=True)
        write_dataset(DATASETS / style, style_pictures(style, seed=seed))
        print(f"{style}: 48 pictures")
