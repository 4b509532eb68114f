#!/usr/bin/env bash
# apptainer.sh start DIR | stop DIR: Apptainer 1.4 below DIR, from Debian's sid packages in a root of their own; DIR/env names the
# folder of its program. Nothing of it touches this system, which may be older. Needs root.
. "$(dirname "$0")/common.sh"
D=$(realpath -m "$2")

unpack_packages() { # ROOT: the packages and all that they need, unpacked, not installed
    local root=$1 apt=$1.apt uri deb
    mkdir -p "$apt"/{lists/partial,cache/archives/partial} "$root"/usr/{bin,sbin,lib,lib64} "$root"/{tmp,etc,root,proc,sys,dev,var/tmp,run,old}
    uri=$(awk '/^URIs:/{print $2; exit}' /etc/apt/sources.list.d/debian.sources)
    echo "deb [trusted=yes] $uri sid main" >"$apt/sid.list"
    : >"$apt/status"
    local options=(-o "Dir::Etc::sourcelist=$apt/sid.list" -o Dir::Etc::sourceparts=/nonexistent -o "Dir::State::lists=$apt/lists"
        -o "Dir::Cache=$apt/cache" -o "Dir::State::status=$apt/status" -o APT::Sandbox::User=root -o APT::Install-Recommends=false)
    apt-get "${options[@]}" -qq update
    apt-get "${options[@]}" -qq -y --download-only install apptainer squashfs-tools squashfuse fuse-overlayfs bash coreutils >/dev/null
    for each in bin sbin lib lib64; do ln -sfn "usr/$each" "$root/$each"; done
    for deb in "$apt"/cache/archives/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -C "$root" -x --keep-directory-symlink; done
    ln -sf bash "$root/usr/bin/sh"
    ldconfig -r "$root"
    cp /etc/{passwd,group,hosts,resolv.conf} "$root/etc/"
    cp -L /etc/localtime "$root/etc/localtime" 2>/dev/null || : >"$root/etc/localtime"
    rm -rf "$apt"
}

case $1 in
start)
    install busybox=busybox-static
    # Unpacked once a machine: it takes long, and is never written to.
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/weft-services/apptainer
    mkdir -p "$(dirname "$cache")" "$D/bin"
    exec 9>"$cache.lock"; flock 9
    [ -e "$cache/ready" ] || { rm -rf "$cache"; unpack_packages "$cache"; touch "$cache/ready"; }
    flock -u 9
    # In a mount namespace of its own, with the host's folders at their own paths.
    cat >"$D/bin/apptainer" <<LAUNCH
#!/bin/sh
exec unshare --mount --propagation private sh -c '
R=$cache; mount --bind \$R \$R; mount -t proc proc \$R/proc; mount --rbind /dev \$R/dev; mount --rbind /sys \$R/sys
top=/\$(echo \$PWD | cut -d/ -f2)
for d in \$(echo /tmp /root /home \$top | tr " " "\n" | sort -u); do [ -d \$d ] && mkdir -p \$R\$d && mount --rbind \$d \$R\$d; done
here=\$PWD; cd \$R; pivot_root . old; cd /; umount -l /old; cd "\$here" 2>/dev/null || cd /
exec /usr/bin/apptainer "\$@"' sh "\$@"
LAUNCH
    chmod +x "$D/bin/apptainer"
    echo "PATH=$D/bin:$PATH" >"$D/env"
    "$D/bin/apptainer" --version | awk '{ print $3 }' >"$D/version"
    ;;
stop) rm -rf "$D" ;;
esac
