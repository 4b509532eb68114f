#!/usr/bin/env bash
# docker.sh start DIR [FOLDER] | stop DIR: a Docker engine of its own, its data below DIR, its address in DIR/env. Needs root.
# FOLDER: one that the engine sees empty, as an engine on another machine would.
. "$(dirname "$0")/common.sh"
D=$(realpath -m "$2")
case $1 in
start)
    install dockerd=docker.io runc=runc docker-init=docker.io busybox=busybox-static
    mkdir -p "$D"
    H=unix://$D/docker.sock
    # No bridge, no rules of a firewall: containers have no network, or the host's. A machine that denies CAP_SYS_RESOURCE
    # gets the runtime that asks for nothing above its own limits.
    ARGS=(--bridge=none --iptables=false --host "$H" --data-root "$D/data" --exec-root "$D/exec" --pidfile "$D/dockerd.own.pid")
    if ! (ulimit -Hn unlimited) 2>/dev/null && ! (ulimit -n $(($(ulimit -Hn) + 1))) 2>/dev/null; then
        ARGS+=(--add-runtime "lowered=$(dirname "$(realpath "$0")")/runc-lowered" --default-runtime lowered)
    fi
    if [ -n "${3:-}" ]; then
        start "$D/dockerd.pid" "$D/dockerd.log" unshare --mount --propagation private \
            sh -c 'mount -t tmpfs none "$0" && exec dockerd "$@"' "$3" "${ARGS[@]}"
    else
        start "$D/dockerd.pid" "$D/dockerd.log" dockerd "${ARGS[@]}"
    fi
    until_up 60 docker --host "$H" info || { tail -5 "$D/dockerd.log" >&2; exit 1; }
    echo "DOCKER_HOST=$H" >"$D/env"
    docker --host "$H" version --format '{{.Server.Version}}' >"$D/version"
    ;;
stop)
    stop "$D/dockerd.pid"
    for m in $(awk -v d="$D/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r); do umount -l "$m" || true; done
    ;;
esac
