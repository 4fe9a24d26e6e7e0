"""Small pictures of latents while a job runs."""
