"""The machine below the course: its device, limits, fonts and folders, and a doctor who reports on them.

Import from the modules: `paths` must stay usable without torch, which `device` and `doctor` load.
"""
