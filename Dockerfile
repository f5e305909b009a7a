# The operator's image: `docker build -t vmferry:0.1.0 .`

FROM python:3.11-slim AS build
WORKDIR /src
# Everything that is pinned, verified by its hash; what only tests need stays in this stage.
COPY constraints.txt ./
RUN pip wheel --no-cache-dir --no-deps --require-hashes --requirement constraints.txt --wheel-dir /wheels
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN pip wheel --no-cache-dir --no-deps --no-index --find-links /wheels --wheel-dir /wheels .
# Only what the package depends on, and only from there; without pip, which nobody needs at run time.
RUN python -m venv --without-pip /opt/vmferry \
 && pip --python /opt/vmferry/bin/python install --no-cache-dir --no-index --find-links /wheels /wheels/vmferry-*.whl \
 && rm -r /opt/vmferry/lib/python*/site-packages/openstack/tests \
 && /opt/vmferry/bin/vmferry version

FROM python:3.11-slim
LABEL org.opencontainers.image.title="vmferry" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/vmferry /opt/vmferry
# The root file system may be read-only: temporary files lie in /tmp, which the chart mounts.
ENV PATH=/opt/vmferry/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["vmferry"]
CMD ["operator", "--config", "/etc/vmferry/config/config.yaml"]
