"""Methods that learn from a few labels and many images without."""
