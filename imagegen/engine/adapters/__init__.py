"""LoRAs and textual inversions, applied to the networks of a model."""
