"""The layer probe: what every block of a frozen network is good for."""
