# The service on a CPU:  docker build -t anomaly-service .
# on an NVIDIA GPU:      docker build -t anomaly-service --build-arg REQUIREMENTS=requirements-gpu.txt \
#                            --build-arg BASE=nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04 .
# (PyPI's paddlepaddle-gpu 2.6.2 was built for CUDA 11.8 and cuDNN 8.)
#
# export SERVE_TOKEN="$(openssl rand -hex 32)"
# docker run -p 127.0.0.1:8000:8000 -v "$PWD/output:/models:ro" --read-only --tmpfs /tmp \
#     --stop-timeout 40 -e SERVE_TOKEN anomaly-service
# docs/service.md says what of this was tested.
ARG BASE=debian:bookworm-slim
FROM $BASE

ARG REQUIREMENTS=requirements.txt

# Paddle needs GNU's OpenMP.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements*.txt ./
RUN python3 -m venv /venv \
    && /venv/bin/pip install --no-cache-dir -r "$REQUIREMENTS" -r requirements-serve.txt

COPY serve.py ./
COPY common common
COPY datasets datasets
COPY evaluation evaluation
COPY inspection inspection
COPY models models
COPY service service
COPY tasks tasks
RUN python3 -m compileall -q . \
    && useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin service
USER service

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["/venv/bin/python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=8)"]
ENTRYPOINT ["/venv/bin/python", "serve.py", "--model_dir", "/models", "--host", "0.0.0.0", \
    "--port", "8000"]
