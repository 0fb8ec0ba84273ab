"""Pictures as matplotlib figures: tensors in, figure out."""
