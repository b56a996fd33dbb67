# Driver and executors of the Spark engine, for a standalone cluster or Kubernetes:
#   docker build -f docker/spark.Dockerfile -t curation-spark .
# On Kubernetes: --conf spark.kubernetes.container.image=curation-spark
FROM python:3.11-slim
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
