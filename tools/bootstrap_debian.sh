#!/usr/bin/env bash
# bootstrap_debian.sh IMAGE: imports a small Debian, of this machine's release, into the Docker engine, where no image can be pulled.
# It takes along how this machine reaches packages: certificate authorities that it trusts, and an index that its environment names.
set -euo pipefail
image=$1
folder=$(mktemp --directory)
trap 'rm -rf --one-file-system "$folder" "$folder.log"' EXIT
# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
debootstrap --variant=minbase "$release" "$folder" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$folder.log" || {
  tail -20 "$folder.log" >&2
  exit 1
}
rm -rf "$folder"/var/cache/apt/archives/*.deb
certificates=/etc/machine-certificates.pem
changes=()
trusted=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [ -f "$trusted" ]; then
  cp "$trusted" "$folder$certificates"
  changes+=(--change "ENV SSL_CERT_FILE=$certificates PIP_CERT=$certificates REQUESTS_CA_BUNDLE=$certificates")
fi
for name in PIP_INDEX_URL UV_DEFAULT_INDEX; do
  if [ -n "${!name:-}" ]; then
    changes+=(--change "ENV $name=${!name}")
  fi
done
tar --directory "$folder" --create . | docker import "${changes[@]}" - "$image"
