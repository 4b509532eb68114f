#!/usr/bin/env bash
# registry.sh start DIR [USER PASSWORD] | stop DIR: a container registry (distribution) on a free port of loopback, its address in DIR/env.
# With USER and PASSWORD it asks for them (basic authentication).
. "$(dirname "$0")/common.sh"
D=$(realpath -m "$2")
case $1 in
start)
    install docker-registry=docker-registry skopeo=skopeo busybox=busybox-static htpasswd=apache2-utils
    mkdir -p "$D/data"
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    {
        printf 'version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: 127.0.0.1:%s}\n' "$D/data" "$port"
        [ -z "${3:-}" ] || printf 'auth: {htpasswd: {realm: test, path: %s}}\n' "$D/htpasswd"
    } >"$D/config.yml"
    [ -z "${3:-}" ] || htpasswd -Bbn "$3" "$4" >"$D/htpasswd" 2>/dev/null
    start "$D/registry.pid" "$D/registry.log" docker-registry serve "$D/config.yml"
    until_up 20 python3 -c "import socket; socket.create_connection(('127.0.0.1', $port)).close()" || { tail -3 "$D/registry.log" >&2; exit 1; }
    echo "WEFT_TEST_REGISTRY=127.0.0.1:$port" >"$D/env"
    docker-registry --version | awk '{ print $3 }' >"$D/version"
    ;;
stop) stop "$D/registry.pid" ;;
esac
