# Stand-ins for the images that docker/ builds on, for machines that reach Debian's packages and PyPI but no image registry. They
# offer what is used of the real ones: programs, users, folders, entrypoints. Each target is one of them; tools/compose.py builds
# them from the repository's root, on the Debian that tools/bootstrap_debian.sh makes.
# Versions are Debian's, and so are the users:
# hadolint global ignore=DL3008,DL3066
ARG DEBIAN_IMAGE=airflow-ee-test/debian:12.0.0
FROM ${DEBIAN_IMAGE} AS python
# The real image's Python is its own and takes packages; Debian's does so without this marker.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED \
    && ln -s python3 /usr/bin/python

FROM python AS airflow
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends curl dumb-init \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 50000 --gid 0 --create-home airflow \
    && install --directory --owner=airflow --group=root /opt/airflow /opt/airflow/dags /opt/airflow/logs
COPY tests/docker/airflow-entrypoint.sh /entrypoint
USER 50000
ENV VIRTUAL_ENV=/home/airflow/.local \
    PATH=/home/airflow/.local/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    DUMB_INIT_SETSID=1
ARG AIRFLOW_VERSION
ARG UV_VERSION
RUN --mount=type=bind,source=requirements.lock,target=/tmp/requirements.lock \
    python -m venv "$VIRTUAL_ENV" \
    && pip install --no-cache-dir "uv==${UV_VERSION}" \
    && uv pip install --no-cache --constraint /tmp/requirements.lock "apache-airflow==${AIRFLOW_VERSION}"
WORKDIR /opt/airflow
ENTRYPOINT ["/usr/bin/dumb-init", "--", "/entrypoint"]

FROM ${DEBIAN_IMAGE} AS redis
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/*
USER redis

FROM ${DEBIAN_IMAGE} AS postgres
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql \
    && install --directory --owner=postgres --group=postgres /var/lib/postgresql/data \
    && ln -s /usr/lib/postgresql/*/bin/initdb /usr/lib/postgresql/*/bin/postgres /usr/local/bin/
COPY tests/docker/postgres-entrypoint.sh /entrypoint
USER postgres
ENV PGDATA=/var/lib/postgresql/data
ENTRYPOINT ["/entrypoint"]
