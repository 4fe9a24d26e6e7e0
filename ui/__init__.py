"""The page in the browser, and the Gradio endpoints for programs."""
