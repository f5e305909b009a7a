# The operator's image: `docker build -t vmferry:0.1.0 .`. Another base, or one by its digest:
# `--build-arg BASE=python:3.11-slim@sha256:…`. BUILDER is the base of the stage that builds and needs pip.
ARG BASE=python:3.11-slim
ARG BUILDER=${BASE}

FROM ${BUILDER} AS build
WORKDIR /src
# Everything that is pinned, verified by its hash; what only tests need stays in this stage.
COPY constraints.txt ./
RUN pip wheel --no-cache-dir --no-deps --require-hashes --requirement constraints.txt --wheel-dir /wheels
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN pip wheel --no-cache-dir --no-deps --no-index --find-links /wheels --wheel-dir /wheels .
# Only what the package depends on, and only from there; without pip, which nobody needs at run time. Of the libraries
# the tests go, the plug-in for kubectl, and 65 MB of the Kubernetes client: a class for each API group and each kind, loaded only by who names
# it. Compiled is what every start imports: the root file system is read-only then.
RUN python -m venv --without-pip /opt/vmferry \
 && pip --python /opt/vmferry/bin/python install --no-cache-dir --no-compile --no-index --find-links /wheels /wheels/vmferry-*.whl \
 && rm -r /opt/vmferry/lib/python*/site-packages/vmferry/simulator \
 && find /opt/vmferry/lib/python*/site-packages/kubernetes -path '*/api/*_api.py' ! -name custom_objects_api.py -delete \
 && find /opt/vmferry/lib/python*/site-packages/kubernetes -path '*/models/*.py' ! -name __init__.py \
      ! -name 'v1_api_resource*.py' ! -name v1_delete_options.py ! -name v1_preconditions.py -delete \
 && rm /opt/vmferry/bin/kubectl-ferry \
 && find /opt/vmferry/lib -type d -name tests -prune -exec rm -r {} + \
 && /opt/vmferry/bin/python -c 'import vmferry.runtime.operator, vmferry.cli.ferry.kube_client, vmferry.cli.uninstall_check' \
 && /opt/vmferry/bin/vmferry version

FROM ${BASE}
LABEL org.opencontainers.image.title="vmferry" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/vmferry /opt/vmferry
# The root file system may be read-only: temporary files lie in /tmp, which the chart mounts. More arenas of malloc than
# two keep memory that nobody uses.
ENV PATH=/opt/vmferry/bin:$PATH \
    HOME=/tmp \
    MALLOC_ARENA_MAX=2 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["vmferry"]
CMD ["operator", "--config", "/etc/vmferry/config/config.yaml"]
