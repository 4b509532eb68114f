#!/usr/bin/env bash
# A private Grid Engine on this host, as root: one queue of eight slots, a parallel environment `smp`, GPUs to be counted. Its root, spool and
# ports are its own; nothing of an installed one is touched.
#   gridengine.sh start DIR | stop DIR      its variables are in DIR/env
[ $# -ge 2 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
. "$(dirname "$0")/common.sh"
action=$1 dir=$(realpath -m "$2")
host=$(hostname)
export SGE_ROOT=$dir/root SGE_CELL=default

ports() { python3 -c 'import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(each.getsockname()[1] for each in held))'; }

as_admin() { (cd / && runuser -u sgeadmin -- env SGE_ROOT="$SGE_ROOT" SGE_CELL=$SGE_CELL SGE_QMASTER_PORT="$SGE_QMASTER_PORT" SGE_EXECD_PORT="$SGE_EXECD_PORT" "$@"); }

# changed WORDS... : what `qconf WORDS` shows, through the sed commands on the standard input, into a file of its own.
changed() { as_admin qconf "$@" | sed -E -f /dev/stdin; }

lay_out() {
    mkdir -p "$dir/spool/qmaster/job_scripts" "$dir/spool/execd" "$dir/made"
    cp -a /var/lib/gridengine "$SGE_ROOT"
    cp -a /var/spool/gridengine/spooldb "$dir/spool/spooldb"
    chown -R sgeadmin:sgeadmin "$dir/spool"
    sed -i "s|/var/spool/gridengine|$dir/spool|" "$SGE_ROOT/default/common/bootstrap"
    # 127.0.0.1 is called localhost by the resolver, and the host by itself.
    echo "$host localhost $(getent hosts 127.0.0.1 | cut -d' ' -f3-)" >"$SGE_ROOT/default/common/host_aliases"
    echo "$host" >"$SGE_ROOT/default/common/act_qmaster"
}

configure() {
    local made=$dir/made
    as_admin qconf -ah "$host" || true
    as_admin qconf -as "$host" || true
    # Root may submit here; what leaves the process group of its job is not hunted for by group id.
    as_admin qconf -sconf global | sed -E "s/^min_(uid|gid) .*/min_\1 0/; s|^execd_spool_dir .*|execd_spool_dir $dir/spool/execd|" >"$made/global"
    as_admin qconf -Mconf "$made/global"
    as_admin qconf -ssconf | sed -E 's/^schedule_interval.*/schedule_interval 0:0:1/; s/^flush_submit_sec.*/flush_submit_sec 1/; s/^flush_finish_sec.*/flush_finish_sec 1/' >"$made/schedule"
    as_admin qconf -Msconf "$made/schedule"
    printf 'pe_name smp\nslots 999\nuser_lists NONE\nxuser_lists NONE\nstart_proc_args NONE\nstop_proc_args NONE\nallocation_rule $pe_slots\ncontrol_slaves FALSE\njob_is_first_task TRUE\nurgency_slots min\naccounting_summary FALSE\nqsort_args NONE\n' >"$made/smp"
    as_admin qconf -Ap "$made/smp"
    { as_admin qconf -sc; echo "gpu gpu INT <= YES YES 0 0"; } >"$made/complex"
    as_admin qconf -Mc "$made/complex"
    printf 'group_name @allhosts\nhostlist %s\n' "$host" >"$made/hosts"
    as_admin qconf -Ahgrp "$made/hosts"
    as_admin qconf -sq | sed -e "s/^qname .*/qname main.q/" -e "s/^hostlist .*/hostlist @allhosts/" -e "s/^slots .*/slots 8/" \
        -e "s/^shell_start_mode .*/shell_start_mode unix_behavior/" -e "s/^pe_list .*/pe_list smp/" -e "s/^load_thresholds .*/load_thresholds NONE/" >"$made/queue"
    as_admin qconf -Aq "$made/queue"
}

is_up() { as_admin qconf -sh; }
has_a_node() { as_admin qstat -f | grep -q "lx-.* *$"; }

begin() {
    install qconf=gridengine-client sge_qmaster=gridengine-master sge_execd=gridengine-exec
    rm -rf "$dir"
    mkdir -p "$dir"
    chmod 755 "$dir"
    lay_out
    read -r SGE_QMASTER_PORT SGE_EXECD_PORT <<<"$(ports)"
    export SGE_QMASTER_PORT SGE_EXECD_PORT
    as_admin /usr/sbin/sge_qmaster
    until_up 60 is_up || { cat "$dir"/spool/qmaster/messages >&2; exit 1; }
    configure >"$dir/configured" 2>&1
    (cd / && sge_execd)
    until_up 60 has_a_node || { qstat -f >&2; exit 1; }
    printf '%s\n' "SGE_ROOT=$SGE_ROOT" "SGE_CELL=$SGE_CELL" "SGE_QMASTER_PORT=$SGE_QMASTER_PORT" "SGE_EXECD_PORT=$SGE_EXECD_PORT" >"$dir/env"
    qstat -help | head -1 >"$dir/version"
}

end() {
    for file in "$dir"/spool/execd/*/execd.pid; do stop "$file"; done
    stop "$dir/spool/qmaster/qmaster.pid"
}

case $action in start) begin ;; stop) end ;; *) exit 2 ;; esac
