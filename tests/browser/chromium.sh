#!/usr/bin/env bash
# Install Chromium and its driver for tests/browser where they are missing (Debian or Ubuntu, root).
set -euo pipefail

die() { echo "error: $1" >&2; exit 2; }

missing=
command -v chromium >/dev/null || missing="$missing chromium"
command -v chromedriver >/dev/null || missing="$missing chromium-driver"
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null || die "${missing# }: not found here, and no apt-get to install it with"
[ "$(id -u)" = 0 ] || die "${missing# }: not found here; run this as root to install it"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends $missing fonts-dejavu-core >/dev/null
