"""What lies on disk and on the Hub: models, LoRAs, embeddings. Nothing here needs torch."""
