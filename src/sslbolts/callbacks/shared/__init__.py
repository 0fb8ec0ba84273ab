"""Parts that several callbacks use: features of a batch, the bank, the queries, linear heads."""
