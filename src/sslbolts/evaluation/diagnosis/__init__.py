"""Diagnosis: what features hold, what the projector throws away, and how both lie in space."""
