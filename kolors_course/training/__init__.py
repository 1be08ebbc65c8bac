"""Training: Kolors-mini from scratch, and LoRAs of any Kolors."""

from kolors_course.libraries import require_fit

require_fit()
