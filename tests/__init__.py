"""Tests. Importing them has the answer to one question of Lightning's kept, in the processes that tests start too."""

import functools
import importlib.metadata

# Every Trainer asks all installed packages for callbacks: a fifth of the time of a short fit.
importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)
