"""A stand-in for the Hugging Face Hub on this machine, and tiny models for it to serve."""
