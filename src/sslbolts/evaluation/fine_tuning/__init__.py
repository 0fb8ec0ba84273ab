"""Fine-tuning: the whole network goes on training, with labels."""
