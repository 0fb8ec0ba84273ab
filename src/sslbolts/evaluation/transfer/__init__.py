"""Transfer: one classifier on frozen features for each of many data sets."""
