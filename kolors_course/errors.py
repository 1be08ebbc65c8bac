"""The one exception that means "your input, not our code"."""


class CourseError(Exception):
    """A mistake the user can mend.

    The message is one line: what is wrong, where (file, line or key) and how to mend it. The command
    line prints it without a traceback and exits with status 2.
    """
