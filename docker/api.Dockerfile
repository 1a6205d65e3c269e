# The HTTP API: no torch, no audio codecs.
#   docker build -f docker/api.Dockerfile -t voicefixer-queue-api .
FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/app
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY shared ./shared
COPY api ./api
COPY cli ./cli
RUN /opt/app/bin/pip install -c constraints.txt .

FROM python:3.12-slim
ENV PATH=/opt/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --create-home --uid 10001 app
COPY --from=build /opt/app /opt/app
USER app
WORKDIR /home/app
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["voicefixer-queue", "api", "--host", "0.0.0.0", "--port", "8000"]
