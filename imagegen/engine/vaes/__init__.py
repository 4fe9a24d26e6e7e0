"""VAEs that jobs use instead of their model's own."""
