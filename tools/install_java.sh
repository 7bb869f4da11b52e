#!/usr/bin/env bash
# Install a Java runtime that Spark runs on, where there is none; the second time it does nothing.
set -euo pipefail

package=openjdk-17-jre-headless

if java -version >/dev/null 2>&1; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "Spark needs Java 17, and there is no apt-get to install it with: install a Java runtime, or set PATH to one" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "Installing $package ..."
if ! { "${as_root[@]}" apt-get update --quiet && "${as_root[@]}" apt-get install --yes --quiet --no-install-recommends "$package"; } >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
java -version 2>&1 | head -1
