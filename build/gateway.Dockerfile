# SPDX-License-Identifier: Apache-2.0
# The gateway: OpenAI's API in front of a server, which it calls over gRPC. It holds no model and no server.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="s1 gateway" \
      org.opencontainers.image.description="OpenAI's API in front of a server of budget forcing" \
      org.opencontainers.image.licenses="Apache-2.0"

WORKDIR /opt/s1
COPY client client
RUN pip install --no-cache-dir "./client[gateway]" \
 && useradd --uid 1000 --no-create-home s1

ENV HOME=/tmp PYTHONUNBUFFERED=1
EXPOSE 8080
USER 1000:1000
CMD ["s1", "gateway", "--help"]
