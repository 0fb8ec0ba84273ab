"""Methods that predict what was hidden of an image."""
