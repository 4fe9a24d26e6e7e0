"""What the studio keeps on disk: databases and picture files."""
