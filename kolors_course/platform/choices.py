"""What can be chosen by name here. Nothing heavy is imported, so that the command line can list it at once."""

import os

PROFILES = ("mini", "kolors")


def profile_name() -> str:
    """The profile that KOLORS_PROFILE names, which may be unknown; without it the first."""
    return os.environ.get("KOLORS_PROFILE") or PROFILES[0]
