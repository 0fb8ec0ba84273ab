# sslbolts with PyTorch for CPUs, or for NVIDIA's GPUs by a build argument:
#
#   docker build -t sslbolts .
#   docker build -t sslbolts:cuda --build-arg DEVICE=cu126 .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" sslbolts demo
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" --gpus all --shm-size 8g sslbolts:cuda fit --config simclr_cifar10
#
# DEVICE is a folder of https://download.pytorch.org/whl: cpu, cu126, cu128, ... The wheels bring CUDA's libraries; the
# machine needs NVIDIA's driver and container toolkit. Workers share images through /dev/shm, of which Docker gives 64 MB.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

ARG DEVICE=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
RUN pip install torch torchvision --index-url https://download.pytorch.org/whl/${DEVICE}

WORKDIR /opt/sslbolts
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY src src
COPY configs configs
RUN pip install ".[fast,formats,parquet,pictures]" && sslbolts --version && sslbolts configs simclr_cifar10 > /dev/null

# Whoever runs it may write caches and has a name, whatever their number is.
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib USER=sslbolts
WORKDIR /work
ENTRYPOINT ["sslbolts"]
CMD ["--help"]
