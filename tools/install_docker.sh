#!/usr/bin/env bash
# install_docker.sh pull|debootstrap: what `make test-docker` needs besides Python, from Debian's packages, where it is missing: Docker's
# client and Compose, an engine if none answers, and debootstrap if the base images are to be made with it.
set -euo pipefail
base_images=$1
missing=()
if ! docker version >/dev/null 2>&1 && [ ! -x /usr/sbin/dockerd ]; then
  missing+=(docker.io)
fi
if ! docker compose version >/dev/null 2>&1 && ! command -v docker-compose >/dev/null; then
  missing+=(docker-compose)
fi
if [ "$base_images" = debootstrap ] && ! command -v debootstrap >/dev/null; then
  missing+=(debootstrap)
fi
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Missing: ${missing[*]}. Start a Docker engine that this user may use, with Compose, or run this as root on Debian" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
