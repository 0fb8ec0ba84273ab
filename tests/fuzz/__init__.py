"""Properties that hold for whatever is given: cases are drawn, the same in every run of ``make test``."""
