# Airflow with the provider. Build from the repository's root:
#   docker build -f docker/airflow.Dockerfile -t airflow-ee .
# Both base images may be replaced by --build-arg, as by a mirror's: compose.yaml takes them from the environment.
ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm
ARG AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.12

# The wheel of the provider, as a release would have it.
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY airflow_ee airflow_ee
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

# The slim image brings Airflow itself; what is installed on top has the versions that the tests ran with.
FROM ${AIRFLOW_IMAGE}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# uv holds even the transitive packages to the lock's versions and hashes (pip would want every one of them named). The two
# drivers are Airflow's ways to PostgreSQL.
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    --mount=type=bind,source=requirements.lock,target=/tmp/requirements.lock \
    wheel=$(echo /wheels/airflow_ee-*.whl) \
    && uv pip install --no-cache --constraint /tmp/requirements.lock \
       "airflow-ee[ee,chart,celery] @ file://${wheel}" asyncpg psycopg2-binary

# Made here, so that volumes mounted there belong to the user of the image.
RUN mkdir -p /opt/airflow/output
ENV AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW_EE_OUTPUT=/opt/airflow/output
COPY --chown=airflow:root dags /opt/airflow/dags

# The base image's user airflow: it runs as that already, and saying so keeps it that way.
USER 50000
