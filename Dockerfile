# Three images from one wheel: `--target operator`, `--target gateway`, `--target cli`. Any base with python3 (≥ 3.11) and
# venv will do.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS wheel
WORKDIR /src
COPY locks/build.txt locks/
RUN python3 -m venv /build && /build/bin/pip install --no-cache-dir --no-deps --require-hashes -r locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY contract contract
COPY operator operator
COPY gateway gateway
COPY cli cli
COPY examples/canary examples/canary
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist .

# PYTHONSAFEPATH: the working directory is never on the import path, whatever stands in it.
FROM ${BASE_IMAGE} AS runtime
ENV PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/opt/modelway/bin:/usr/local/bin:/usr/bin:/bin
RUN python3 -m venv /opt/modelway

FROM runtime AS operator
COPY locks/operator.txt /tmp/lock.txt
RUN /opt/modelway/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/lock.txt
COPY --from=wheel /dist /tmp/dist
RUN /opt/modelway/bin/pip install --no-cache-dir --no-deps --no-index /tmp/dist/*.whl && rm -r /tmp/dist /tmp/lock.txt
USER 65532:65532
ENTRYPOINT ["modelway-operator"]

FROM runtime AS gateway
COPY locks/gateway.txt /tmp/lock.txt
RUN /opt/modelway/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/lock.txt
COPY --from=wheel /dist /tmp/dist
RUN /opt/modelway/bin/pip install --no-cache-dir --no-deps --no-index /tmp/dist/*.whl && rm -r /tmp/dist /tmp/lock.txt
USER 65532:65532
ENTRYPOINT ["modelway-gateway"]

FROM runtime AS cli
COPY locks/cli.txt /tmp/lock.txt
RUN /opt/modelway/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/lock.txt
COPY --from=wheel /dist /tmp/dist
RUN /opt/modelway/bin/pip install --no-cache-dir --no-deps --no-index /tmp/dist/*.whl && rm -r /tmp/dist /tmp/lock.txt
USER 65532:65532
ENTRYPOINT ["modelway"]
