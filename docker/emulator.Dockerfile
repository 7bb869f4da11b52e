# The Earth Engine emulator, without Airflow. Build from the repository's root:
#   docker build -f docker/emulator.Dockerfile -t earth-engine-emulator .
ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm
FROM ${PYTHON_IMAGE}

# The distribution depends on Airflow, which the emulator does not import: its own few packages are named instead, at the
# versions and hashes of the lock, and the source is copied. uv checks hashes of constraints, which pip cannot.
RUN --mount=type=bind,source=requirements.lock,target=/tmp/requirements.lock \
    python -m pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --system --no-cache --constraint /tmp/requirements.lock \
       numpy pyproj rasterio requests shapely starlette uvicorn \
    && python -m pip uninstall --yes uv

WORKDIR /app
COPY airflow_ee/__init__.py airflow_ee/__init__.py
COPY airflow_ee/emulator airflow_ee/emulator

RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin emulator \
    && install -d -o emulator -g emulator /var/lib/earth-engine
USER 10001
VOLUME /var/lib/earth-engine
EXPOSE 8085
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8085/healthz', timeout=4)"]

# It listens on all interfaces of the container: who may reach it is decided by what is published.
ENTRYPOINT ["python", "-m", "airflow_ee.emulator", "--host", "0.0.0.0", "--port", "8085", "--root", "/var/lib/earth-engine"]
