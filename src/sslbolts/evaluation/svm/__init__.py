"""Linear support vector machines on the maps of a frozen network, one per class."""
