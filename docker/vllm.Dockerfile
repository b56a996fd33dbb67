# A recaption server on a machine with GPUs; its libraries are vLLM's own, apart from curation's:
#   docker build -f docker/vllm.Dockerfile -t curation-vllm .
#   docker run --gpus all --ipc host -p 8000:8000 -v "$PWD/models:/models" curation-vllm --model /models/captioner --served-model-name captioner
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends gcc g++ libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/vllm
COPY constraints-vllm-gpu.txt ./
RUN pip install --no-cache-dir --constraint constraints-vllm-gpu.txt vllm
ENV VLLM_NO_USAGE_STATS=1
EXPOSE 8000
ENTRYPOINT ["python", "-m", "vllm.entrypoints.openai.api_server", "--host", "0.0.0.0", "--port", "8000"]
