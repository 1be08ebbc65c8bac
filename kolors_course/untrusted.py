"""Reading what others wrote: JSON of bounded size and depth, and values that must have a declared shape.

A shape is a dataclass; pydantic reads it. Annotate its fields with the types below: they take what JSON says as it
is and turn nothing into something else.
"""

import json
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Strict, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from kolors_course.errors import CourseError, brief

MAX_BYTES = 16 * 2**20  # of a JSON text; in Python it takes about twenty times as much
MAX_DEPTH = 100  # of lists and objects in each other; what is written again is written by recursion

# What pydantic says of Python's types, in JSON's words.
_REASONS = {
    "missing": "it is missing",
    "dataclass_type": "an object {…} belongs there",
    "dict_type": "an object {…} belongs there",
    "tuple_type": "a list […] belongs there",
    "list_type": "a list […] belongs there",
    "string_type": "a text belongs there",
    "int_type": "a whole number belongs there",
}

Shape = TypeVar("Shape")
Text = Annotated[str, Strict()]
Integer = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]


def _id(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("id", "an id is a number or a text")
    return str(value)


# Ids are numbers in most files and texts in some, and must be equal all the same.
Id = Annotated[str, BeforeValidator(_id)]


def null_means(default: Any) -> BeforeValidator:
    """For the annotation of a field: some programs write null for what is not there."""
    return BeforeValidator(lambda value: default if value is None else value)


def parse_json(text: str | bytes, where: str) -> Any:
    """The value that a JSON text says; bytes may be UTF-8, with or without a mark, UTF-16 or UTF-32.

    Args:
        where: what the text is, at the start of messages: a file, "the answer of …".

    Raises:
        CourseError: it is not JSON, too long or nested too deep.
    """
    if len(text) > MAX_BYTES:
        raise CourseError(f"{where}: longer than {MAX_BYTES >> 20} MiB, which no honest one is")
    try:
        value = json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
    except json.JSONDecodeError as error:
        raise CourseError(f"{where}, line {error.lineno}: not JSON ({error.msg})") from error
    except UnicodeDecodeError as error:
        raise CourseError(f"{where} cannot be read: it is not text in UTF-8 ({error.reason})") from error
    except RecursionError as error:
        raise CourseError(f"{where}: nested too deep") from error
    except ValueError as error:  # of numbers with thousands of digits
        raise CourseError(f"{where}: not JSON that can be read (a number has thousands of digits)") from error
    if _deeper_than(MAX_DEPTH, value):
        raise CourseError(f"{where}: nested deeper than {MAX_DEPTH} levels")
    return value


def _deeper_than(limit: int, value: Any) -> bool:
    level = [value]
    for _ in range(limit):
        level = [child for entry in level for child in _children(entry)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def read_as(shape: type[Shape], value: Any, where: str, remedy: str = "") -> Shape:
    """`value`, as it came out of JSON, as a `shape`; what the shape does not name is left out.

    Raises:
        CourseError: a part is missing or of another type; the first one is named, with the way to it.
    """
    try:
        # mypy asks whether the instances are hashable; the class is.
        return _reader(shape).validate_python(value)  # type: ignore[arg-type]
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        way = ".".join(brief(step) if isinstance(step, str) else str(step) for step in fault["loc"])
        reason = _REASONS.get(fault["type"]) or fault["msg"][0].lower() + fault["msg"][1:]
        raise CourseError(
            f"{where} is damaged{f' at {way}' if way else ''}: {reason}{remedy and f'; {remedy}'}"
        ) from error


@cache
def _reader(shape: type[Shape]) -> TypeAdapter[Shape]:
    return TypeAdapter(shape)
