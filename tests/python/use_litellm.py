"""Makes and edits pictures with litellm, and prints on one line what came back:

python use_litellm.py http://127.0.0.1:7860 picture.png
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # Otherwise it downloads the prices of all models.

import litellm

url, file = sys.argv[1:]
common: dict[str, Any] = {
    "api_base": f"{url}/v1", "api_key": "sk-any", "prompt": "a red circle", "num_retries": 0
}  # fmt: skip
own = litellm.image_generation(model="openai/embedded", size="128x128", extra_body={"seed": 7, "steps": 2}, **common)
alias = litellm.image_generation(
    model="openai/gpt-image-1", size="1024x1536", quality="low", moderation="low", **common
)
links = litellm.image_generation(
    model="openai/dall-e-2", size="512x512", n=2, user="u", extra_body={"steps": 1}, **common
)
with Path(file).open("rb") as picture:
    edited = litellm.image_edit(
        model="openai/gpt-image-1", image=picture, size="1024x1024", extra_body={"steps": "2"}, **common
    )
refused = ""
try:
    litellm.image_generation(model="openai/embedded", size="4096x128", **common)
except litellm.BadRequestError as error:
    refused = str(error)
made = [answer.data[0].b64_json for answer in (own, alias, edited)]
print(json.dumps({
    "version": version("litellm"), "made": made, "links": [entry.url for entry in links.data], "refused": refused
}))  # fmt: skip
