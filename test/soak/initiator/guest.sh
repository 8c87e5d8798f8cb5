#!/bin/busybox sh
# /init of the machine whose kernel is the initiator: `npm run soak -- --initiator`. What it is to do is in variables that
# come from the kernel's command line:
#   TARGET, SECRET, TARGET_SECRET   of the target, whose CHAP users are `initiator` and `target`
#   FIRST, SECOND                   its portals, HOST:PORT; ADDRESS is this machine's own, ADDRESS/BITS
#   SESSIONS                        1, or 2: another one through the second portal
#   FS                              ext4 or xfs
#   SIZE, GROWN                     bytes of the disk, and what it has when the load is over
#   COMMAND_S                       seconds until the kernel aborts a command
#   SEED                            of the load
#   SLICE                           0 to 3: which of four MiB is read in the end
# Tells of each step on the console, `soak: WORD ...`, after the kernel's own lines, `kernel: ...`; ends with `soak: done`
# or `soak: failed WHERE`, and powers off. While the load goes on it takes words: `reset`, and `go`, which ends the load.
# The shell prefers programs of its own: where it has a smaller one of the name, the path says which is meant.
export PATH=/bin LD_LIBRARY_PATH=/lib
busybox mount -t proc proc /proc
busybox --install -s /bin 2>/dev/null
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /run/lock/iscsi /var /mnt
ln -s /run /var/run
ln -s /run/lock /var/lock
exec </dev/console >/dev/console 2>&1
stty -echo
cd /tmp || exit

tell() { echo "soak: $*"; }
# What the kernel said since the last time.
kernel() { dmesg -c | sed 's/^/kernel: /'; }
fail() {
  kernel
  sed 's/^/iscsid: /' iscsid.log
  tell "failed $*"
  poweroff -f
  sleep 60
}
# step NAME COMMAND...: runs it, and tells of it.
step() {
  local name=$1 status
  shift
  "$@" >out 2>&1
  status=$?
  sed "s/^/$name: /" out
  [ $status = 0 ] || fail "$name: exit $status"
  kernel
  tell "ok $name"
}

node() { iscsiadm -m node -T "$TARGET" "$@"; }
setting() { node -o update -n "$1" -v "$2"; }
# The disk of the session through a portal, such as sda: its name is written when it is there.
disk_at() {
  local session name tries=100
  session=$(iscsiadm -m session | sed -n "s/^tcp: \[\([0-9]*\)\] $1,.*/\1/p")
  while [ $tries -gt 0 ]; do
    name=$(ls /sys/class/iscsi_session/session"$session"/device/target*/*/block 2>/dev/null)
    if [ -b "/dev/$name" ]; then
      echo "$name"
      return
    fi
    tries=$((tries - 1))
    usleep 100000
  done
  return 1
}
# is WHAT FOUND EXPECTED
is() {
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "$1 is not $3"; return 1; }
}

start() {
  # What the kernel said while it booted is no matter of this.
  dmesg -c >boot
  /bin/modprobe -a virtio_pci virtio_net virtio_rng crc32c_intel crc32c_generic sd_mod sg ext4 xfs iscsi_tcp &&
    ip link set lo up && ip addr add "$ADDRESS" dev eth0 && ip link set eth0 up || return 1
  hostname initiator
  echo 'root:x:0:0:root:/:/bin/sh' >/etc/passwd
  echo 'InitiatorName=iqn.2026-11.internal.soak:initiator' >/etc/iscsi/initiatorname.iscsi
  iscsid -f >iscsid.log 2>&1 &
  until iscsiadm -m session 2>&1 | grep -q 'No active sessions'; do usleep 100000; done
  uname -r
}

discover() {
  local portal
  iscsiadm -m discovery -t sendtargets -p "$FIRST" >found && cat found || return 1
  for portal in "$FIRST" "$SECOND"; do grep -qxF "$portal,1 $TARGET" found || return 1; done
  setting 'node.session.auth.authmethod' CHAP &&
    setting 'node.session.auth.username' initiator &&
    setting 'node.session.auth.username_in' target &&
    setting 'node.session.auth.password_in' "$TARGET_SECRET" &&
    setting 'node.conn[0].iscsi.HeaderDigest' CRC32C &&
    setting 'node.conn[0].iscsi.DataDigest' CRC32C
}

# A wrong secret: ISCSI_ERR_LOGIN_AUTH_FAILED.
be_refused() {
  setting 'node.session.auth.password' not-the-secret || return 1
  node -p "$FIRST" --login
  is 'exit of the login' $? 24
}

log_in() {
  setting 'node.session.auth.password' "$SECRET" && node -p "$FIRST" --login || return 1
  [ "$SESSIONS" = 1 ] || node -p "$SECOND" --login || return 1
  iscsiadm -m session -P 2 >session
  cat session
  is 'digests' "$(grep -c 'Digest: CRC32C' session)" $((2 * SESSIONS))
}

# What the kernel made of the disk.
look() {
  local queue=/sys/block/$disk/queue page
  is 'size' $((512 * $(cat "/sys/block/$disk/size"))) "$SIZE" &&
    is 'logical block' "$(cat $queue/logical_block_size)" 512 &&
    is 'physical block' "$(cat $queue/physical_block_size)" 512 &&
    is 'least that is fast' "$(cat $queue/minimum_io_size)" 4096 &&
    is 'best transfer' "$(cat $queue/optimal_io_size)" 1048576 &&
    is 'write cache' "$(cat $queue/write_cache)" 'write back' &&
    is 'FUA' "$(cat $queue/fua)" 1 &&
    is 'rotational' "$(cat $queue/rotational)" 0 &&
    is 'discard granularity' "$(cat $queue/discard_granularity)" 4096 &&
    is 'discards' "$(cat /sys/class/scsi_disk/*/provisioning_mode | sort -u)" unmap &&
    is 'zeroing' "$(cat /sys/class/scsi_disk/*/zeroing_mode | sort -u)" writesame_16_unmap || return 1
  for page in sv sn di ei mpp sp tpc bl bdc lbpv; do sg_vpd -q -p $page "/dev/$disk" || return 1; done
  sg_readcap -l "/dev/$disk" && sg_opcodes "/dev/$disk" && sg_modes -a "/dev/$disk"
}

writes() { dd if=/dev/zero "of=/dev/$1" bs=4k count=1 seek=100 oflag=direct 2>&1; }
is_kept_out() { ! writes "$1" >said && cat said && grep -q 'Invalid exchange' said; }
reserve() { sg_persist --no-inquiry --out "$@"; }
# Write exclusive for registrants (type 5): who is not registered may read; who takes it over keeps the other out.
reserve_all() {
  is 'unit' "$(sg_vpd -q -p sn "/dev/$other")" "$(sg_vpd -q -p sn "/dev/$disk")" &&
    reserve --register --param-sark=a1 "/dev/$disk" &&
    reserve --register --param-sark=b1 "/dev/$other" &&
    reserve --reserve --param-rk=a1 --prout-type=5 "/dev/$disk" &&
    writes "$disk" && writes "$other" &&
    reserve --register --param-rk=b1 --param-sark=0 "/dev/$other" &&
    is_kept_out "$other" && writes "$disk" &&
    dd "if=/dev/$other" of=/dev/null bs=4k count=1 iflag=direct &&
    reserve --register --param-sark=b2 "/dev/$other" &&
    reserve --preempt --param-rk=b2 --param-sark=a1 --prout-type=5 "/dev/$other" &&
    is_kept_out "$disk" && writes "$other" &&
    reserve --clear --param-rk=b2 "/dev/$other" &&
    writes "$disk" && writes "$other"
  status=$?
  dmesg -c | sed 's/^/kernel, as it should: /'
  return $status
}

make_fs() {
  # All of it zeroed once, by WRITE SAME, and trimmed, by UNMAP.
  /bin/blkdiscard -z -o 0 -l $((32 << 20)) "/dev/$disk" && /bin/blkdiscard "/dev/$disk" || return 1
  case $FS in
    ext4) mkfs.ext4 -q "/dev/$disk" ;;
    xfs) mkfs.xfs -q -f "/dev/$disk" ;;
  esac && mount -t "$FS" -o discard "/dev/$disk" /mnt
}

# fio_pass SEED OPTION...: the same seed writes the same.
fio_pass() {
  local seed=$1
  shift
  fio --directory=/mnt --ioengine=libaio --direct=1 --iodepth=16 --verify=crc32c --verify_fatal=1 \
    --randseed="$seed" "$@" \
    --name=small --size=8m --rw=randwrite --bs=4k --verify_backlog=512 --verify_backlog_batch=128 \
    --name=large --size=32m --rw=randwrite --bsrange=4k-512k --fsync=16
}

listen() {
  local word
  while read -r word; do
    case $word in
      reset) sg_reset -d "/dev/$disk" >reset 2>&1 && tell "ok reset" || tell "failed reset: $(cat reset)" ;;
      go)
        : >went
        return
        ;;
    esac
  done
}

# The other session reads meanwhile.
keep_reading() {
  local mib=0
  until [ -e went ]; do
    dd "if=/dev/$other" of=/dev/null bs=1M count=4 skip=$mib iflag=direct 2>read || { : >read-failed; return; }
    mib=$(((mib + 4) % 384))
    sleep 1
  done
}

load() {
  local reader=''
  listen </dev/console >/dev/console 2>&1 &
  [ -z "$other" ] || { keep_reading & reader=$!; }
  { sleep 3; tell load; } >/dev/console &
  until [ -e went ]; do
    passes=$((passes + 1))
    fio_pass $((SEED + passes)) || return 1
    echo "soak: pass $passes" >/dev/console
  done
  [ -z "$reader" ] || wait "$reader"
  [ ! -e read-failed ] || { cat read; return 1; }
}

grow() {
  iscsiadm -m session -R || return 1
  is 'size' $((512 * $(cat "/sys/block/$disk/size"))) "$GROWN" || return 1
  case $FS in
    ext4) resize2fs "/dev/$disk" ;;
    xfs) xfs_growfs /mnt ;;
  esac
}

verify() {
  umount /mnt && mount -t "$FS" -o discard "/dev/$disk" /mnt && fio_pass $((SEED + passes)) --verify_only &&
    rm /mnt/large.* && sync && fstrim -v /mnt && umount /mnt
}

check_fs() {
  case $FS in
    ext4) e2fsck -fn "/dev/$disk" ;;
    xfs) xfs_repair -n "/dev/$disk" ;;
  esac
}

# Of every fourth MiB, beginning with SLICE; through the other session, where there is one.
sum() {
  local mib=$SLICE
  while [ $mib -lt $((GROWN >> 20)) ]; do
    dd "if=/dev/${other:-$disk}" bs=1M count=1 skip=$mib iflag=direct 2>/dev/null || { : >sum-failed; return; }
    mib=$((mib + 4))
  done | md5sum >hash
  [ ! -e sum-failed ]
}

count() { grep -c "$1" "$2"; }
stat_sum() { sed -n "s/^.*$1: \([0-9]*\)$/\1/p" stats | awk '{ n += $1 } END { print n + 0 }'; }
statistics() {
  iscsiadm -m session -s >stats && cat stats && cat iscsid.log && is 'digest errors' "$(stat_sum digest_err)" 0
}

log_out() {
  node --logout || return 1
  iscsiadm -m session
  is 'exit without sessions' $? 21 && [ ! -e "/sys/block/$disk" ]
}

passes=0
disk=''
other=''
step start start
step discovery discover
step refusal be_refused
step login log_in
disk=$(disk_at "$FIRST") || fail "login: no disk"
[ "$SESSIONS" = 1 ] || other=$(disk_at "$SECOND") || fail "login: no second disk"
for each in $disk $other; do echo "$COMMAND_S" >"/sys/block/$each/device/timeout"; done
kernel
step disk look
[ "$SESSIONS" = 1 ] || step reservations reserve_all
step mkfs make_fs
step fio load
step resize grow
step verify verify
step fsck check_fs
step hash sum
step statistics statistics
step logout log_out
tell "facts kernel=$(uname -v | grep -o '[0-9]*\.[0-9.]*-[0-9]*') passes=$passes aborts=$(stat_sum eh_abort_cnt)" \
  "recoveries=$(count 'operational after recovery' iscsid.log) hash=$(cut -d' ' -f1 hash)"
tell done
poweroff -f
