"""IP-Adapters: what they make of reference pictures, and how a UNet looks at it."""
