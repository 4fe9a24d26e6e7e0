# syntax=docker/dockerfile:1
# docker build --tag studio .                                 for NVIDIA GPUs
# docker build --tag studio:cpu --build-arg DEVICE=cpu .      for machines without
#
# Outside of compose.yaml, say who may use it, or the studio does not start: --env STUDIO_ACCESS=keys, or hf; or, where
# it is published to one machine alone, --env STUDIO_OPEN_TO_NETWORK=true.

ARG DEVICE=cuda

# torch brings CUDA's libraries with it, so the smallest of NVIDIA's images is enough. It asks the container toolkit for
# the GPU and its driver, and refuses to start on a driver that is too old.
# Networks that work often are compiled, which takes a C++ compiler, Python's headers, and those of CUDA that torch does
# not bring.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS base-cuda
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV UV_TORCH_BACKEND=cu130

FROM python:3.12-slim-bookworm AS base-cpu
ENV UV_TORCH_BACKEND=cpu

# The environment is built on the base that it runs on: it refers to that base's Python.
FROM base-${DEVICE} AS build
ARG DEVICE
COPY requirements.txt constraints.txt /tmp/
# uv alone chooses the build of torch that fits the device.
RUN --mount=type=cache,target=/root/.cache \
    python3 -m venv /opt/venv /tmp/tools \
    && /tmp/tools/bin/pip install uv==0.13.9 \
    && /tmp/tools/bin/uv pip install --python /opt/venv/bin/python --link-mode copy --compile-bytecode \
        --requirement /tmp/requirements.txt --constraint /tmp/constraints.txt \
        $([ "${DEVICE}" = cpu ] || echo nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85)

FROM base-${DEVICE}
# uid 1000 is what Hugging Face Spaces and most single-user machines have. Ubuntu's image already names it.
RUN (getent passwd 1000 || useradd --uid 1000 studio) \
    && install --directory --owner 1000 --group 1000 /models /cache /cache/huggingface /logs /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .

# Outside its volumes the studio writes to /tmp alone, so that the rest can be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    HF_HOME=/cache/huggingface \
    STUDIO_HOST=0.0.0.0 \
    STUDIO_PORT=7860 \
    STUDIO_DATA_DIR=/data \
    STUDIO_MODELS_DIR=/models \
    STUDIO_LOG_DIR=/logs
USER 1000:1000
VOLUME ["/models", "/cache/huggingface", "/logs", "/data"]
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ[\"STUDIO_PORT\"]}/healthz', timeout=4)"]
CMD ["python", "app.py"]
