"""Models, LoRAs and embeddings on disk and on the Hugging Face Hub. Imports no torch."""
