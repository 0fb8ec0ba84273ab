"""The offline protocols by which the field judges a representation: on a checkpoint, after training."""
