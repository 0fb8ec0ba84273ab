"""Whole training runs of the official codes, followed step by step; cases/README.md says what is recorded."""
