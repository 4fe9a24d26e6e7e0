"""The page "Create": the tools and their controls, the picture, and the pictures before it."""
