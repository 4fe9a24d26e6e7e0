"""Reference pictures: what an IP-Adapter makes of them, and how a UNet looks at it."""
