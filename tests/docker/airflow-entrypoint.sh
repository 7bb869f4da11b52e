#!/usr/bin/env bash
# As the real image's: what is no program of these is a command of Airflow.
case "${1:-}" in
  airflow | bash | python) exec "$@" ;;
  *) exec airflow "$@" ;;
esac
