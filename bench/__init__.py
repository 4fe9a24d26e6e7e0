"""What we measure, against what."""
