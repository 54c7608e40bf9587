# HushRec: one image for every part of a federation; the command says which.
# docs/guide/containers.md: how to build it, how to pin it by digest, what it was tried with.

ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Where torch comes from. PyPI's torch for Linux brings CUDA along, which is several gigabytes.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/hushrec
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# Ray is for simulations on many machines; no part of a deployment loads it.
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      | sed -e 's/^flwr\[simulation\]/flwr/' > requirements.txt \
    && pip --python /opt/hushrec/bin/python install --no-deps --only-binary :all: \
      --index-url "${TORCH_INDEX}" torch==2.13.0 \
    && pip --python /opt/hushrec/bin/python install --only-binary :all: \
      --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE hushrec.py ./
COPY common common
COPY client client
COPY server server
COPY simulations simulations
RUN pip --python /opt/hushrec/bin/python install --no-deps .

FROM ${PYTHON_IMAGE} AS hushrec
LABEL org.opencontainers.image.title="HushRec" \
      org.opencontainers.image.description="Private federated recommendation" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing here installs anything any more. The folders are those that volumes are mounted on: a
# new volume takes its owner and its permissions from them. None of them is declared a volume:
# a ledger must not end up in one without a name, which the next `docker run` would not find.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip setuptools wheel \
    && install --directory --mode=0700 --owner=10001 --group=10001 \
      /client /server /setup /setup/server /setup/north /setup/east /setup/south
COPY --from=build /opt/hushrec /opt/hushrec
ENV PATH=/opt/hushrec/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    USER=hushrec \
    FLWR_TELEMETRY_ENABLED=0 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1
USER 10001:10001
WORKDIR /tmp
# That of a client, which is what most of these containers are; others name their own.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-m", "common.probe", "http://127.0.0.1:9464/health"]
ENTRYPOINT ["hushrec"]
CMD ["--help"]
