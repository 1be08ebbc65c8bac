"""A course you can run on a laptop that teaches, trains and ships real Kolors LoRAs."""

__version__ = "0.1.0"
