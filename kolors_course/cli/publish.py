"""`kolors-course publish`: what it does once its flags are read."""

import argparse

from kolors_course.errors import CourseError
from kolors_course.platform.hub import check_client, check_repo, upload_folder
from kolors_course.story.bundle import bundle_faults, files_of, read_manifest

LICENCES = {"apache": "Apache License 2.0", "kolors": "other"}


def run(arguments: argparse.Namespace) -> int:
    repo, folder = check_repo(arguments.repo), arguments.bundle
    manifest = read_manifest(folder)
    if faults := bundle_faults(folder, manifest):
        print("\n".join(faults))
        raise CourseError(f"{folder}: {len(faults)} faults, listed above; nothing was uploaded")
    sizes = {name: (folder / name).stat().st_size for name in files_of(folder)}
    print("\n".join(f"{size:>12,} {name}" for name, size in sizes.items()))
    licence = LICENCES[manifest.licence]
    print(f"{len(sizes)} files, {sum(sizes.values()):,} bytes, to the model {repo} on ModelScope")
    print(f"licence {licence}; {arguments.visibility}, if the repository is new")
    if not arguments.yes:
        print("nothing was uploaded; --yes uploads")
        return 0
    check_client()
    made = upload_folder(folder, repo, visibility=arguments.visibility, licence=licence)
    print(f"uploaded to {repo}, {f'made {arguments.visibility}' if made else 'which was there already'}")
    return 0
