# Driver, master and workers of the Spark engine, for a standalone cluster:
#   docker build -f docker/spark.Dockerfile -t curation-spark .
# Kubernetes starts pods through the entrypoint of Spark's own image: install the package into that.
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev openjdk-17-jre-headless procps tini && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/curation
COPY pyproject.toml constraints.txt README.md ./
COPY curation curation
COPY jobs jobs
COPY schemas schemas
COPY recaption_prompts recaption_prompts
RUN pip install --no-cache-dir --constraint constraints.txt ".[spark]"
ENV SPARK_HOME=/usr/local/lib/python3.11/site-packages/pyspark \
    PYSPARK_PYTHON=/usr/local/bin/python3.11 \
    PATH=/usr/local/lib/python3.11/site-packages/pyspark/bin:$PATH
ENTRYPOINT ["tini", "--"]
CMD ["spark-submit", "--help"]
