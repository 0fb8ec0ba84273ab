"""Reading and writing checkpoints: ours, those of other libraries, and files of a backbone alone."""
