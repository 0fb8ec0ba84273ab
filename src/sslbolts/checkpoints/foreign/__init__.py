"""Other libraries' checkpoints: a table of their layouts, the network that weights are of, and the reader."""
