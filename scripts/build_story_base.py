"""Write what the base model draws and scores in the demo, into the folder beside its storyboard: a minute."""

from kolors_course.cli.demo import row_work
from kolors_course.cli.demo_rows import base_folder, write_base
from kolors_course.cli.flags.demo import SCENES
from kolors_course.cli.options import picture_progress
from kolors_course.kolors import current_profile, load_profile
from kolors_course.platform.device import limit_threads
from kolors_course.platform.paths import data_dir
from kolors_course.story import read_storyboard

if __name__ == "__main__":
    limit_threads()
    story = data_dir() / "stories" / "moon_rabbit.yaml"
    work = row_work(load_profile(current_profile("mini"), "cpu"), read_storyboard(story), SCENES)
    base = work.make(
        picture_progress(len(work.storyboard.panels), "base story"),
        picture_progress(len(work.prompts), "measuring base"),
    )
    write_base(base_folder(story), work.key, base)
    print(f"{base_folder(story).name}: {len(base.panels)} panels, scores of {len(work.prompts)} prompts")
