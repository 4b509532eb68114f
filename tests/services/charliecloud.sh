#!/usr/bin/env bash
# charliecloud.sh start DIR | stop DIR: Charliecloud, from its Debian package. Nothing runs: it is a program.
. "$(dirname "$0")/common.sh"
case $1 in
start)
    install ch-run=charliecloud busybox=busybox-static
    mkdir -p "$2"
    : >"$2/env"
    USER=${USER:-root} ch-run --version 2>&1 | head -1 >"$2/version"
    ;;
stop) rm -rf "$2" ;;
esac
