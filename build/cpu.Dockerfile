# SPDX-License-Identifier: Apache-2.0
# s1 over the embedded engine, on a CPU: Triton comes as a Python package, the weights of s1-tiny are in package budgetforce, and
# the model is prepared here.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="s1 on a CPU" \
      org.opencontainers.image.description="Budget forcing as a Triton model, over s1-tiny, a demonstration model, on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0"

# Needed by llama.cpp, which computes where OpenVINO cannot run. Version: the base image's.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*

# Without dependencies, for the reasons in build/local.py.
RUN pip install --no-cache-dir --no-deps "nvidia-pytriton==0.7.*"

WORKDIR /opt/s1
COPY python_backend/pyproject.toml python_backend/
RUN python3 -c "import tomllib; p = tomllib.load(open('python_backend/pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['embedded'], *p['optional-dependencies']['tracing'], sep='\n')" > /tmp/needed.txt \
 && pip install --no-cache-dir --requirement /tmp/needed.txt \
 && rm /tmp/needed.txt

COPY python_backend python_backend
COPY model_repository model_repository
RUN pip install --no-cache-dir --no-deps ./python_backend \
 && python3 -c "from pathlib import Path; from budgetforce.launcher import triton_files; from budgetforce.engine import model_files; triton_files.find(); model_files.prepare(model_files.DEFAULT_SOURCE, Path('models'))" \
 && useradd --uid 1000 --no-create-home s1 \
 && chown -R 1000:1000 models

ENV HOME=/tmp PYTHONUNBUFFERED=1 TRANSFORMERS_NO_ADVISORY_WARNINGS=1
EXPOSE 8000 8001 8002 8003
USER 1000:1000
CMD ["python3", "-m", "budgetforce.launcher", "--cache", "models", "--log", "-", "--host", "0.0.0.0"]
