"""The lessons, and which exercises each has."""

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kolors_course.errors import CourseError


@dataclass(frozen=True)
class Lesson:
    """A notebook with exercises."""

    notebook: str  # the name of its file, without the ending
    english: str
    chinese: str
    modules: tuple[str, ...]  # of this room, that hold its checks

    @property
    def number(self) -> str:
        return self.notebook[:2]

    @property
    def title(self) -> str:
        return self.english if self.english == self.chinese else f"{self.english} · {self.chinese}"

    @cached_property
    def exercises(self) -> tuple[str, ...]:
        """The names of its checks, in the order of their modules."""
        return tuple(name for module in self.modules for name in _checks_in(module))


LESSONS = (
    Lesson("00_setup", "Setup", "准备", ("setup",)),
    Lesson("01_generative_models", "Generative models", "生成模型", ("generative", "own_model")),
    Lesson("02_diffusion", "Diffusion", "扩散模型", ("diffusion", "own_schedule")),
    Lesson("03_sde_ode_samplers", "SDE, ODE and samplers", "SDE、ODE 与采样器", ("solvers", "own_sampler")),
    Lesson("04_guidance", "Guidance", "引导", ("guidance",)),
    Lesson("05_anatomy_of_kolors", "Anatomy of Kolors", "解剖可图", ("anatomy",)),
    Lesson("06_prompting", "Prompting", "提示词", ("prompting",)),
    Lesson("07_data", "From raw pictures to a data set", "从原始图片到数据集", ("data",)),
    Lesson("08_lora_maths", "The mathematics of LoRA", "LoRA 的数学", ("lora_maths",)),
    Lesson("09_training_a_kolors_lora", "Training a Kolors LoRA", "训练可图 LoRA", ("lora_training",)),
    Lesson("10_story", "The story, and handing it in", "讲故事与提交", ("story",)),
    Lesson("12_comfyui", "ComfyUI", "ComfyUI", ("comfyui",)),
    Lesson("13_measuring_quality", "Measuring quality", "衡量质量", ("measuring",)),
)


def find_lesson(number: str) -> Lesson:
    """The lesson of a notebook, by its number, such as "01".

    Raises:
        CourseError: there is none.
    """
    for lesson in LESSONS:
        if lesson.number == number:
            return lesson
    known = ", ".join(lesson.number for lesson in LESSONS)
    raise CourseError(f"there is no lesson {number!r}; give one of {known}")


def exercise_title(check: str) -> str:
    """What an exercise is called in lists: that of `check_latents_shape` is "latents shape"."""
    return check.removeprefix("check_").replace("_", " ")


def _checks_in(module: str) -> tuple[str, ...]:
    """The functions under `@exercise` in a module of this room; read, not imported, which would load torch."""
    source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    return tuple(
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and any(map(_is_exercise, node.decorator_list))
    )


def _is_exercise(decorator: ast.expr) -> bool:
    match decorator:
        case ast.Call(func=ast.Name(id="exercise")):
            return True
    return False
