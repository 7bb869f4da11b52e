#!/usr/bin/env bash
# What `make test-cluster` needs besides Python: Postgres and Redis, from Debian's packages, where they are missing.
set -euo pipefail
if command -v redis-server >/dev/null && compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "Install postgresql and redis-server, or run this as root" >&2
  exit 1
fi
# They are started by the tests, on ports of their own, and not by the system.
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends postgresql redis-server
