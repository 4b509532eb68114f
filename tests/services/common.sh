# For the scripts beside this one: sourced, never run. `install PROGRAM=PACKAGE...` gets what is missing, as root, from Debian.
set -euo pipefail

say() { echo "$(basename "$0"): $*" >&2; }

install() {
    local missing=() each
    for each in "$@"; do PATH="$PATH:/usr/sbin:/sbin" command -v "${each%%=*}" >/dev/null 2>&1 || missing+=("${each##*=}"); done
    [ "${#missing[@]}" = 0 ] && return 0
    [ "$(id -u)" = 0 ] || { say "missing: ${missing[*]} (installed only as root, with apt-get)"; exit 3; }
    export DEBIAN_FRONTEND=noninteractive
    exec 8>/var/lock/weft-services.lock; flock 8
    apt-get -o DPkg::Lock::Timeout=600 -qq update >/dev/null
    # No daemon of a package is started by its installation: only what these scripts start runs.
    [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; }
    apt-get -o DPkg::Lock::Timeout=600 -y -qq install --no-install-recommends "${missing[@]}" >/dev/null
    flock -u 8
}

# start PIDFILE LOG WORDS...: a daemon in a session of its own.
start() {
    local pidfile=$1 log=$2; shift 2
    setsid "$@" >"$log" 2>&1 </dev/null 8>&- 9>&- &
    echo $! >"$pidfile"
}

# until_up SECONDS WORDS...: until the words succeed.
until_up() {
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 0.1; done
}

# stop PIDFILE: what we started, by its process id, and nothing else.
stop() {
    local pid
    [ -s "$1" ] || return 0
    pid=$(cat "$1")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$1"
}
