"""Methods that tell images apart."""
