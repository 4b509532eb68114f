#!/usr/bin/env bash
# An sshd on loopback, at a port that was free, with keys of its own: whoever starts it can log in, as himself.
#   sshd.sh start DIR [NAME=VALUE...] | stop DIR      the variables are set in each session; then: DIR/ssh there
. "$(dirname "$0")/common.sh"
[ $# -ge 2 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
action=$1 dir=$(realpath -m "$2")
shift 2

begin() {
    install sshd=openssh-server ssh=openssh-client
    rm -rf "$dir"
    mkdir -p "$dir"
    chmod 700 "$dir"
    mkdir -p /run/sshd 2>/dev/null || true
    local port
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
    ssh-keygen -q -t ed25519 -N '' -f "$dir/client"
    cp "$dir/client.pub" "$dir/authorized"
    echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$dir/host.pub")" >"$dir/known"
    cat >"$dir/sshd_config" <<CONF
ListenAddress 127.0.0.1:$port
HostKey $dir/host
PidFile $dir/pid
AuthorizedKeysFile $dir/authorized
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
MaxSessions 100
LogLevel VERBOSE
$([ $# -eq 0 ] || echo "SetEnv $*")
CONF
    cat >"$dir/config" <<CONF
Host there
  HostName 127.0.0.1
  Port $port
  User $(id -un)
  IdentityFile $dir/client
  IdentitiesOnly yes
  UserKnownHostsFile $dir/known
CONF
    # A client as a person has it: the configuration is found without being named.
    printf '#!/bin/sh\nexec ssh -F %s "$@"\n' "$dir/config" >"$dir/ssh"
    chmod 755 "$dir/ssh"
    /usr/sbin/sshd -f "$dir/sshd_config" -E "$dir/log"
    until_up 20 test -s "$dir/pid"
    : >"$dir/env"
    ssh -V 2>&1 | cut -d, -f1 >"$dir/version"
}

case $action in start) begin "$@" ;; stop) stop "$dir/pid" ;; *) exit 2 ;; esac
