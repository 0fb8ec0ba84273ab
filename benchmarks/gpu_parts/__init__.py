"""Parts of ``benchmarks/gpu.py``, one question each, and the plan that carries them out."""
