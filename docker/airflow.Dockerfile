# Airflow with the provider. Build from the repository's root:
#   docker build -f docker/airflow.Dockerfile -t airflow-ee .

# The wheel of the provider, as a release would have it.
FROM python:3.12.11-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY airflow_ee airflow_ee
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

# The slim image brings Airflow itself; what is installed on top has the versions that the tests ran with.
FROM apache/airflow:slim-3.3.2-python3.12
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# uv holds even the transitive packages to the lock's versions and hashes (pip would want every one of them named). The
# lock knows no PostgreSQL drivers, for the tests run on SQLite: these two are pinned here.
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    --mount=type=bind,source=requirements.lock,target=/tmp/requirements.lock \
    wheel=$(echo /wheels/airflow_ee-*.whl) \
    && uv pip install --no-cache --constraint /tmp/requirements.lock \
       "airflow-ee[ee,chart] @ file://${wheel}" asyncpg==0.32.0 psycopg2-binary==2.9.13

# Made here, so that volumes mounted there belong to the user of the image.
RUN mkdir -p /opt/airflow/output
ENV AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW_EE_OUTPUT=/opt/airflow/output
COPY --chown=airflow:root dags /opt/airflow/dags

# The base image's user airflow: it runs as that already, and saying so keeps it that way.
USER 50000
