"""Makes pictures with LangChain's wrapper of DALL-E, and prints on one line what came back:

python use_langchain.py http://127.0.0.1:7860
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

(url,) = sys.argv[1:]
common = {"base_url": f"{url}/v1", "api_key": "sk-any", "max_retries": 0}
links = [
    DallEAPIWrapper(model="dall-e-2", n=2, size="256x256", **common).run("a red circle"),
    DallEAPIWrapper(model="dall-e-3", quality="low", **common).run("a red circle"),
]
print(json.dumps({"version": version("langchain-community"), "links": links}))
