"""Files of a backbone alone: the formats, and the same network under another library's names."""
