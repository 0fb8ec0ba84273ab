"""Methods that learn from the frames of videos."""
