# Head and workers of the Ray engine, for KubeRay's `image:` or `ray start` by hand:
#   docker build -f docker/ray.Dockerfile -t curation-ray .
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev procps wget && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/curation
COPY pyproject.toml constraints.txt README.md ./
COPY curation curation
COPY jobs jobs
COPY schemas schemas
COPY recaption_prompts recaption_prompts
RUN pip install --no-cache-dir --constraint constraints.txt ".[ray]"
CMD ["ray", "start", "--help"]
