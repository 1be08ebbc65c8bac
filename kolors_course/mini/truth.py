"""What is true of rendered scenes, as numbers: the targets that judge and text encoder learn."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kolors_course.art import Scene, subject_index
from kolors_course.evaluation.probes import CLASSES


def truth_tensors(scenes: Sequence[Scene], styles: Sequence[str]) -> dict[str, Tensor]:
    """Training targets: "subject" (N, S) of 0/1, the others (N,) class indices, -1 where it does not apply.

    Size and position mean nothing for pairs; a style that repaints the whole picture keeps both.
    """
    index = subject_index()
    subject = torch.zeros(len(scenes), len(index))
    for row, scene in enumerate(scenes):
        subject[row, [index[s.en] for s in scene.subjects]] = 1
    pairs = [len(scene.subjects) == 2 for scene in scenes]

    def column(key: str, values: Sequence[str], blank: Sequence[bool] | None = None) -> Tensor:
        codes = [CLASSES[key].index(v) for v in values]
        return torch.tensor([-1 if blank and blank[i] else c for i, c in enumerate(codes)])

    return {
        "subject": subject,
        "place": column("place", [s.place for s in scenes]),
        "time": column("time", [s.time for s in scenes]),
        "size": column("size", [s.size for s in scenes], pairs),
        "position": column("position", [s.position for s in scenes], pairs),
        "count": column("count", [str(len(s.subjects)) for s in scenes]),
        "style": column("style", list(styles)),
    }
