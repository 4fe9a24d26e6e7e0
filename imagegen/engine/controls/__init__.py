"""ControlNets: networks that make the denoiser follow pictures such as edges."""
