"""Generative models in the plane: data, models and exact teachers, small enough to train in seconds.

One point is a "picture" of two numbers, so a whole distribution can be seen at once, and right answers are known.
"""
