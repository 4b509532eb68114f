#!/usr/bin/env bash
# bubblewrap.sh start DIR | stop DIR: bubblewrap, from its Debian package. Nothing runs: it is a program.
. "$(dirname "$0")/common.sh"
case $1 in
start)
    install bwrap=bubblewrap busybox=busybox-static
    mkdir -p "$2"
    : >"$2/env"
    bwrap --version | awk '{ print $2 }' >"$2/version"
    ;;
stop) rm -rf "$2" ;;
esac
