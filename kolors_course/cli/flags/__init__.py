"""The flags of each subcommand: one module each, whose docstring is the help text.

Nothing heavy is imported here, neither torch nor numpy, so that `--help` answers at once; the work is in the module
of the same name in `kolors_course.cli`, which is imported after the flags were read.
"""
