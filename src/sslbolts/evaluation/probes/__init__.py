"""Classifiers on frozen features: the linear probe and the MLP probe, by the papers' settings."""
