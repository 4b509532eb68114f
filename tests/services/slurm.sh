#!/usr/bin/env bash
# A private Slurm on this host: a controller and two nodes of 16 pretended CPUs each. Nothing in /etc is touched.
#   slurm.sh start DIR [accounting] | stop DIR      its variables are in DIR/env
# `accounting` adds a MariaDB and slurmdbd, so that sacct works, and control groups, so that OUT_OF_MEMORY is told.
# Everything listens on loopback and on ports that were free; each daemon is ended by the pid that it wrote.
usage() { sed -n '2,5p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
. "$(dirname "$0")/common.sh"
action=$1 dir=$(realpath -m "$2") accounting=${3:-}
export SLURM_CONF=$dir/slurm.conf
host=$(hostname -s)

packages() {
    install slurmctld=slurmctld slurmd=slurmd sbatch=slurm-client munged=munge
    [ -z "$accounting" ] || install slurmdbd=slurmdbd mariadbd=mariadb-server
    [ -z "$accounting" ] || [ -e /usr/lib/*/slurm-wlm/accounting_storage_mysql.so ] || install accounting_storage_mysql=slurm-wlm-mysql-plugin
}

ports() { # COUNT: free ports of loopback
    python3 -c 'import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(each.getsockname()[1] for each in held))' "$1"
}

munge() {
    dd if=/dev/urandom of="$dir/munge/key" bs=1024 count=1 status=none
    chmod 400 "$dir/munge/key"
    munged --force --key-file="$dir/munge/key" --socket="$dir/munge/sock" --pid-file="$dir/munge/pid" \
        --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
}

configure() { # CONTROLLER DATABASE NODE1 NODE2: ports
    local tracking="ProctrackType=proctrack/linuxproc
TaskPlugin=task/none" storage="AccountingStorageType=accounting_storage/none"
    if [ -n "$accounting" ]; then
        storage="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$2
AccountingStoragePass=$dir/munge/sock"
        tracking="ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup"
        printf '%s\n' CgroupPlugin=cgroup/v1 CgroupMountpoint=/sys/fs/cgroup ConstrainRAMSpace=yes \
            ConstrainSwapSpace=no ConstrainCores=no >"$dir/cgroup.conf"
    fi
    cat >"$SLURM_CONF" <<CONF
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/sock
CredType=cred/munge
SlurmctldPort=$1
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd-%n.pid
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
$tracking
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
MailProg=/bin/true
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
MinJobAge=${SLURM_MIN_JOB_AGE:-300}
KillWait=2
SwitchType=switch/none
GresTypes=gpu
MaxArraySize=1001
MaxJobCount=20000
JobCompType=jobcomp/none
$storage
NodeName=n1 NodeAddr=127.0.0.1 NodeHostname=$host Port=$3 CPUs=16 RealMemory=16000 Gres=gpu:2 State=UNKNOWN
NodeName=n2 NodeAddr=127.0.0.1 NodeHostname=$host Port=$4 CPUs=16 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=short Nodes=n1 Default=NO MaxTime=1 State=UP
CONF
    printf 'NodeName=n1 Name=gpu Count=2 File=/dev/null,/dev/zero\n' >"$dir/gres.conf"
}

database() { # PORT
    local mysql=(mariadb --no-defaults -S "$dir/mysql/sock" -uroot) port
    port=$(ports 1)
    mkdir -p "$dir/mysql"
    chown mysql: "$dir/mysql"
    mariadb-install-db --no-defaults --user=mysql --datadir="$dir/mysql" --auth-root-authentication-method=normal \
        --skip-test-db >"$dir/log/mysql-install.log" 2>&1
    mariadbd --no-defaults --user=mysql --datadir="$dir/mysql" --socket="$dir/mysql/sock" --port="$port" \
        --bind-address=127.0.0.1 --pid-file="$dir/mysql/pid" --innodb-lock-wait-timeout=900 \
        </dev/null >"$dir/log/mysql.log" 2>&1 &
    until_up 30 mariadb-admin --no-defaults -S "$dir/mysql/sock" -uroot ping
    "${mysql[@]}" -e "create database slurm_acct_db; create user slurm@localhost identified by 'slurm';
        create user slurm@'127.0.0.1' identified by 'slurm'; grant all on slurm_acct_db.* to slurm@localhost;
        grant all on slurm_acct_db.* to slurm@'127.0.0.1'"
    cat >"$dir/slurmdbd.conf" <<CONF
DbdHost=localhost
DbdPort=$1
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/sock
PidFile=$dir/run/slurmdbd.pid
LogFile=$dir/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$port
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
    chmod 600 "$dir/slurmdbd.conf"
    slurmdbd
    until_up 30 sacctmgr -n -i show cluster
    sacctmgr -i add cluster tests >/dev/null 2>&1 || true
}

nodes_are_idle() { [ "$(sinfo -h -p main -t idle -o %D)" = 2 ]; }

begin() {
    packages
    rm -rf "$dir"
    mkdir -p "$dir"/{state,log,run,munge,spool/n1,spool/n2}
    chmod 755 "$dir" "$dir/munge"
    local found
    read -ra found <<<"$(ports 4)"
    munge
    configure "${found[@]}"
    [ -z "$accounting" ] || database "${found[1]}"
    slurmctld -c
    slurmd -N n1
    slurmd -N n2
    until_up 60 nodes_are_idle || { tail -5 "$dir"/log/*.log >&2; exit 1; }
    echo "SLURM_CONF=$SLURM_CONF" >"$dir/env"
    slurmctld -V | sed "s/slurm-wlm //; s/$/${accounting:+ with accounting}/" >"$dir/version"
}

queue_is_empty() { [ -z "$(squeue --noheader)" ]; }

end() {
    [ -e "$SLURM_CONF" ] || return 0
    # A node does not end while a step of it runs.
    scancel --quiet --user="$(id -un)" 2>/dev/null || true
    until_up 10 queue_is_empty || true
    for file in "$dir"/run/slurmd-*.pid "$dir"/run/slurmctld.pid "$dir"/run/slurmdbd.pid "$dir"/mysql/pid "$dir"/munge/pid; do
        stop "$file"
    done
}

case $action in start) begin ;; stop) end ;; *) usage ;; esac
