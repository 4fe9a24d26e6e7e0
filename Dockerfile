# syntax=docker/dockerfile:1
# docker build --tag studio .                                 for NVIDIA GPUs
# docker build --tag studio:cpu --build-arg DEVICE=cpu .      for CPUs
#
# `docker run` needs a setting for access, or the studio does not start: --env STUDIO_ACCESS=keys (or hf). If the port is
# published to this machine only, --env STUDIO_OPEN_TO_NETWORK=true allows access without sign-in.

ARG DEVICE=cuda

# torch's packages contain the CUDA libraries, so NVIDIA's smallest image is enough. It makes the container toolkit pass
# the GPU and its driver, and it does not start with a driver that is too old.
# Compiling networks needs a C++ compiler, Python's headers, and the CUDA headers that torch's packages do not contain.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS base-cuda
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV UV_TORCH_BACKEND=cu130

FROM python:3.12-slim-bookworm AS base-cpu
ENV UV_TORCH_BACKEND=cpu

# The virtual environment is built on the base image that it runs on, because it refers to that image's Python.
FROM base-${DEVICE} AS build
ARG DEVICE
COPY requirements.txt constraints.txt /tmp/
# uv selects the build of torch that fits the device; pip cannot.
RUN --mount=type=cache,target=/root/.cache \
    python3 -m venv /opt/venv /tmp/tools \
    && /tmp/tools/bin/pip install uv==0.13.9 \
    && /tmp/tools/bin/uv pip install --python /opt/venv/bin/python --link-mode copy --compile-bytecode \
        --requirement /tmp/requirements.txt --constraint /tmp/constraints.txt \
        $([ "${DEVICE}" = cpu ] || echo nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85)

FROM base-${DEVICE}
# Hugging Face Spaces and most single-user machines use uid 1000. Ubuntu's image already has a user with this uid.
RUN (getent passwd 1000 || useradd --uid 1000 studio) \
    && install --directory --owner 1000 --group 1000 /models /cache /cache/huggingface /logs /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .

# The studio writes only to its volumes and /tmp, so the rest of the file system can be read-only.
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
