"""The camp's script by its own name: `python -m kolors_course.train_kolors_lora` is `kolors-course train-lora`."""

import sys

from kolors_course.cli import main

if __name__ == "__main__":
    sys.exit(main(["train-lora", *sys.argv[1:]]))
