"""Parts that every LightningModule of the collection has while it trains, whatever it trains."""
