"""Drawing many pictures for a command: kept ones are taken, the time is told beforehand, and a bar moves."""

from collections.abc import Sequence
from math import ceil
from time import perf_counter

from PIL import Image
from tqdm.auto import tqdm

from kolors_course.cli.signals import ended_in_order
from kolors_course.evaluation.kept import DrawnStore, draw_kept, picture_keys
from kolors_course.kolors import KolorsModel, Sampling


def draw_told(
    model: KolorsModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    sampling: Sampling,
    store: DrawnStore,
    loras: Sequence[tuple[str, float]] = (),
    description: str = "drawing",
    later: int | None = 0,
) -> list[Image.Image]:
    """Every picture, kept in `store` or drawn now.

    Args:
        loras: see `picture_keys`.
        later: pictures that the command draws afterwards, whose time is told too; None where it was told already.

    Raises:
        CourseError: see `draw_kept`.
    """
    keys = picture_keys(model, prompts, seeds, sampling, loras)
    missing = [i for i, key in enumerate(keys) if store.get(key) is None]
    if len(missing) < len(keys):
        print(
            f"{len(keys) - len(missing):,} pictures are there already; {len(missing):,} are drawn", flush=True
        )
    first, started = missing[: sampling.batch_size], perf_counter()
    with ended_in_order(), tqdm(total=len(keys), desc=description, unit="picture", disable=None) as bar:
        if later is not None and len(missing) > 2 * len(first):  # else the end is near
            some = [prompts[i] for i in first], [seeds[i] for i in first]
            draw_kept(model, *some, sampling, store, [keys[i] for i in first])
            left = len(missing) - len(first) + later
            seconds = left * (perf_counter() - started) / len(first)
            about = f"{ceil(seconds)} s" if seconds < 90 else f"{ceil(seconds / 60):,} min"
            tqdm.write(f"time: about {about} for {left:,} more pictures")

        def advance(done: int) -> None:
            bar.update(done - bar.n)

        return draw_kept(model, prompts, seeds, sampling, store, keys, advance)
