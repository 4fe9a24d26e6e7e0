"""Drawing styles: watercolor, pixel art, oil painting and others."""
