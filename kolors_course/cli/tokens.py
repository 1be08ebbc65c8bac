"""Counting tokens without loading a model."""

from collections.abc import Callable
from pathlib import Path

from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer

from kolors_course.errors import CourseError
from kolors_course.kolors import current_profile
from kolors_course.kolors.model import diffusers_layout


def token_counter(model: str | None, what: str) -> Callable[[str], int] | None:
    """A function that counts the tokens of a text, without prefix, with the tokenizer of the model at hand;
    None, with a line that says so, where there is none.

    Args:
        what: what is counted, in messages: "captions".

    Raises:
        CourseError: there is a tokenizer, and it cannot be read.
    """
    folder = Path(model) if model else current_profile().folder
    if not model and not folder.is_dir():
        try:
            folder = current_profile("mini").present_folder()
        except CourseError as error:
            print(f"the {what} are not counted in tokens: {error}")
            return None
    path = diffusers_layout(folder).tokenizer
    try:
        tokenizer = ChatGLMTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CourseError(
            f"cannot load the tokenizer in {path}: {reason}; copy or download it again"
        ) from error
    print(f"{what} are counted with the tokenizer of {folder}")
    prefix = len(tokenizer("")["input_ids"])
    return lambda text: len(tokenizer(text)["input_ids"]) - prefix
