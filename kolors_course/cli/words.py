"""`kolors-course words`: what it does once its flags are read."""

import argparse
from dataclasses import asdict

from kolors_course.art.unknown import unknown_words
from kolors_course.art.vocabulary import vocabulary
from kolors_course.cli.reports import write_json
from kolors_course.prompting import texts_of


def run(arguments: argparse.Namespace) -> int:
    if arguments.prompt is not None:
        unknown = unknown_words(" , ".join(texts_of(arguments.prompt)))
        print(
            f"Kolors-mini does not know: {', '.join(unknown)}" if unknown else "Kolors-mini knows every word"
        )
        write_json(arguments.json, {"prompt": arguments.prompt, "unknown": unknown})
        return 0
    for section in vocabulary():
        print(f"{section.name} · {section.zh} ({len(section.entries)})")
        for entry in section.entries:
            print(f"  {', '.join(entry.en)} · {'、'.join(entry.zh)}")
    write_json(arguments.json, {section.name: asdict(section) for section in vocabulary()})
    return 0
