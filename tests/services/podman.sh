#!/usr/bin/env bash
# podman.sh start DIR | stop DIR: Podman with a store of its own below DIR; its variables are in DIR/env. No daemon. Needs root.
. "$(dirname "$0")/common.sh"
D=$(realpath -m "$2")
case $1 in
start)
    install podman=podman runc=runc busybox=busybox-static catatonit=catatonit
    mkdir -p "$D"
    # runc and cgroupfs: the machine may have no systemd, and cgroups of both versions side by side.
    cat >"$D/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
    cat >"$D/storage.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$D/store"
runroot = "$D/run"
CONF
    printf 'CONTAINERS_CONF=%s\nCONTAINERS_STORAGE_CONF=%s\n' "$D/containers.conf" "$D/storage.conf" >"$D/env"
    export CONTAINERS_CONF="$D/containers.conf" CONTAINERS_STORAGE_CONF="$D/storage.conf"
    podman info >/dev/null
    podman version --format '{{.Client.Version}}' >"$D/version"
    ;;
stop)
    export CONTAINERS_CONF="$D/containers.conf" CONTAINERS_STORAGE_CONF="$D/storage.conf"
    [ -e "$D/storage.conf" ] && podman rm --all --force >/dev/null 2>&1 || true
    for m in $(awk -v d="$D/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r); do umount -l "$m" || true; done
    ;;
esac
