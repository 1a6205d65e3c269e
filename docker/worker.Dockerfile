# A worker: audio, restore, vocode, or all of them (--stages).
#   docker build -f docker/worker.Dockerfile -t voicefixer-queue-worker .
# TORCH_INDEX names a package index to take torch from: one with CPU builds makes the image some GB smaller.
# EXTRAS are those of pyproject.toml: worker,cpu, or worker,gpu where there is a GPU.
FROM python:3.12-slim AS build
ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/app
# First and by itself: nothing else may pull in another build of it, and the layer outlives changes of ours.
RUN /opt/app/bin/pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.13.0
ARG EXTRAS="worker,cpu"
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY shared ./shared
COPY worker ./worker
COPY cli ./cli
RUN /opt/app/bin/pip install -c constraints.txt ".[${EXTRAS}]"

FROM python:3.12-slim
ENV PATH=/opt/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HF_HOME=/var/cache/huggingface
# What the backends compile and convert once; on a volume a new container starts in seconds.
ENV XDG_CACHE_HOME=/var/cache/vfq NUMBA_CACHE_DIR=/var/cache/vfq/numba
RUN useradd --create-home --uid 10001 app && install -d -o app -g app "$HF_HOME" "$XDG_CACHE_HOME"
COPY --from=build /opt/app /opt/app
USER app
WORKDIR /home/app
STOPSIGNAL SIGTERM
CMD ["voicefixer-queue", "worker", "--stages", "all"]
