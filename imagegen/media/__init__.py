"""Pictures as files: input pictures, encoders, and metadata."""
