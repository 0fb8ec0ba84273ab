"""Methods in which views agree and the dimensions of their embeddings are decorrelated."""
