#!/bin/busybox sh
# Process 1 of a guest until the host's file system is there. Whatever fails here shows on the console, and ends the guest.
/bin/busybox --install -s /bin
PATH=/bin
trap 'echo "soft-roce: $step failed"; poweroff -f' EXIT
set -e

step="mounting /proc, /sys, /dev and /run"
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
for module in $(cat /modules/order); do
    step="loading $module"
    insmod "/modules/$module"
done

step="setting the address"
ip link set lo up
ip address add "$(cat /address)" dev eth0
ip link set eth0 mtu "$(cat /mtu)" up

# Nothing that a guest writes reaches the host, except through the share.
step="mounting the host's file system"
mount -t tmpfs -o mode=755,size=80% upper /upper
mkdir /upper/files /upper/work
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /lower
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work root /new

step="entering the host's file system"
cp /job /run/soft-roce.json
for folder in proc sys dev run; do
    mount --move /$folder /new/$folder
done
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec switch_root /new "$(cat /program)"
