"""Methods that learn from clusters of images."""
