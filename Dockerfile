# Danqing in a container. TORCH chooses the build of PyTorch: cpu, or cu130 for NVIDIA cards.
#   docker compose --profile cpu up        docker compose --profile nvidia up
FROM python:3.12-slim-bookworm

# Versions of Debian's own packages change with every security update; pinned ones soon vanish.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 danqing \
    && mkdir -p /app /data/outputs \
    && chown -R danqing:danqing /app /data

USER 1000
WORKDIR /app

# What the installation reads comes first: a change of the program does not install anew.
COPY --chown=danqing:danqing launch.py ./
COPY --chown=danqing:danqing requirements requirements
COPY --chown=danqing:danqing webui/__init__.py webui/command_line.py webui/
COPY --chown=danqing:danqing webui/launcher webui/launcher
ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1
RUN python launch.py install --torch "${TORCH}"

COPY --chown=danqing:danqing . .

VOLUME ["/app/models", "/data"]
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 7860), 4).close()"]
CMD ["python", "launch.py", "--skip-install", "--listen", "--port", "7860", "--data-dir", "/data"]
