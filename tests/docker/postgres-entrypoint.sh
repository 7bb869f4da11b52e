#!/usr/bin/env bash
# As the real image's: makes the database that the environment describes, once, and serves it to the network.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --auth=scram-sha-256 --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD")
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  postgres --single postgres <<<"CREATE DATABASE \"$POSTGRES_DB\""
fi
exec postgres -c listen_addresses='*'
