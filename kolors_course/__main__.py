"""`python -m kolors_course`, the same as the command `kolors-course`."""

import sys

from kolors_course.cli import main

if __name__ == "__main__":
    sys.exit(main())
