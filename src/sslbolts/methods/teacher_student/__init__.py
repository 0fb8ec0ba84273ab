"""Methods in which a student learns from a teacher."""
