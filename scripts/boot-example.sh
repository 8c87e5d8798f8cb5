#!/usr/bin/env bash
# A small Linux system on a shadowed disk image: booted over NBD, lost, and booted again while it is restored.
#
#   scripts/boot-example.sh KERNEL.deb [RATE]
#
# KERNEL.deb is Debian's linux-image-VERSION-cloud-amd64; it is unpacked, not installed. docs/examples/boot.md says
# how to get it and what else is needed. RATE is that of the restore, in a second. All happens in a temporary
# folder; nothing is left behind.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="$root/node_modules/node/bin:$PATH:/usr/sbin:/sbin"
boot_timeout=90s # under emulation; a boot takes about 5 s on an idle machine
rate=${2:-2MiB}   # slow, so that the system boots long before the restore ends

# ---- What is run, and how it ends ----

explain() { printf '\n# %s\n' "$*"; }
fail() {
  printf '%s\nFAIL\n' "$*"
  exit 1
}
sgw() { node "$root/bin/run.js" "$@"; }
# show COMMAND...: prints it as a reader would type it.
show() {
  local word line='$'
  for word in "$@"; do
    if [[ $word == *[!A-Za-z0-9_./:=,+-]* ]]; then line+=" '$word'"; else line+=" $word"; fi
  done
  printf '%s\n' "$line"
}
tell() {
  show "$@"
  "$@"
}

[ $# -ge 1 ] && [ $# -le 2 ] && [ -f "$1" ] || fail "usage: scripts/boot-example.sh KERNEL.deb [RATE]"
kernel_package=$(realpath "$1")
for tool in node qemu-system-x86_64 busybox mkfs.ext4 e2fsck debugfs dpkg-deb gzip timeout; do
  command -v "$tool" >/dev/null || fail "$tool is not installed"
done
if ldd "$(command -v busybox)" >/dev/null 2>&1; then fail 'busybox is not the one of the package busybox-static'; fi

work=$(mktemp -d "${TMPDIR:-/tmp}/sgw-boot-XXXXXX")
gateway=''
vm=''
clean_up() {
  [ -z "$vm" ] || kill "$vm" 2>/dev/null || true
  [ ! -d home ] || sgw gateway stop --quiet >/dev/null 2>&1 || [ -z "$gateway" ] || kill -KILL "$gateway" || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$work"
for name in "${!SGW_@}"; do unset "$name"; done
export SGW_HOME=$work/home SGW_CONFIG_DIR=$work/config NO_COLOR=1

# ---- The system: busybox, a boot counter, and files enough to be worth a restore ----

# Debian's kernel has ext4 built in and virtio as modules, in the order in which they need each other.
modules=(virtio/virtio_ring virtio/virtio virtio/virtio_pci_legacy_dev virtio/virtio_pci_modern_dev virtio/virtio_pci
  block/virtio_blk)

make_initramfs() {
  local module
  mkdir -p initramfs/{bin,dev,root}
  cp "$(command -v busybox)" initramfs/bin/busybox
  {
    echo '#!/bin/busybox sh'
    for module in "${modules[@]}"; do
      cp kernel/lib/modules/*/kernel/drivers/"$module.ko" initramfs/
      echo "/bin/busybox insmod /${module#*/}.ko"
    done
    echo '/bin/busybox mount -t devtmpfs dev /dev'
    echo '/bin/busybox mount -t ext4 /dev/vda /root'
    echo 'exec /bin/busybox switch_root /root /init'
  } >initramfs/init
  chmod +x initramfs/init
  (cd initramfs && find . | busybox cpio -o -H newc 2>/dev/null) | gzip -1 >initramfs.gz
}

make_image() {
  mkdir -p system/{bin,dev,proc,var}
  cp "$(command -v busybox)" system/bin/busybox
  cp -r kernel/lib/modules/*/kernel/drivers system/drivers
  (cd system && find drivers -name '*.ko' -exec md5sum {} + >var/checksums)
  cat >system/init <<'INIT'
#!/bin/busybox sh
alias busybox=/bin/busybox
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
boots=$(($(busybox cat /var/boots 2>/dev/null || echo 0) + 1))
echo $boots >/var/boots
cd / && busybox md5sum -c /var/checksums >/dev/null && whole=whole || whole=damaged
busybox sync
echo
echo "vm: boot $boots, $(busybox wc -l </var/checksums) files are $whole"
busybox mount -o remount,ro /
busybox poweroff -f
INIT
  chmod +x system/init
  truncate -s 256M vm.img
  mkfs.ext4 -q -L vm -d system vm.img
}

# ---- The machine ----

# boot EXPORT BOOTS: runs the machine until it powers off; its boot must be the one with this number.
boot() {
  local log=console-$2.log started=$EPOCHREALTIME took
  local command=(qemu-system-x86_64 -accel tcg -m 256 -nographic -nic none -no-reboot
    -kernel vmlinuz -initrd initramfs.gz -append 'console=ttyS0 quiet panic=-1'
    -drive "file=nbd+unix:///$1?socket=home/nbd.sock,format=raw,if=virtio")
  show "${command[@]}"
  timeout "$boot_timeout" "${command[@]}" </dev/null >"$log" 2>&1 &
  vm=$!
  wait "$vm" || fail "the machine did not power off: $(cat "$log")"
  vm=''
  took=$(elapsed "$started")
  tr -d '\r' <"$log" | grep '^vm: ' || fail "the system did not come up: $(cat "$log")"
  tr -d '\r' <"$log" | grep -q "^vm: boot $2, .* are whole\$" || fail "this is not boot $2 of a whole system"
  echo "boot $2 took $took s"
}

elapsed() { node -p '(process.argv[2] - process.argv[1]).toFixed(1)' "$1" "$EPOCHREALTIME"; }

# gateway_now EXPRESSION: of what `gateway show` tells, as `now`.
gateway_now() { sgw gateway show --json | node -p "const now = JSON.parse(fs.readFileSync(0, 'utf8')); $1"; }

# of_export EXPRESSION: of the only export that the gateway has, as `it`.
of_export() {
  gateway_now "const [it] = now.exports; $1"
}

wait_until_in_store() {
  local started=$EPOCHREALTIME
  until [ "$(of_export 'it.state === "available" && it.shadow.phase === "steady" && it.dirtyBytes === 0')" = true ]; do
    [ "$(node -p "$EPOCHREALTIME - $started > 120")" = false ] || fail 'the store has not caught up in two minutes'
    sleep 0.5
  done
  echo "in the store after $(elapsed "$started") s"
}

# ---- The story ----

dpkg-deb -x "$kernel_package" kernel
cp kernel/boot/vmlinuz-* vmlinuz
make_initramfs
make_image

explain 'A gateway that shadows a disk image with a Linux system'
tell sgw activate --name lab --mode shadowing
tell sgw gateway start
gateway=$(gateway_now now.pid)
tell sgw volume attach vm --image vm.img

explain 'The system boots from it over NBD, while the store gets its first copy'
boot vm 1
wait_until_in_store
tell sgw snapshot create vm --name booted --wait

explain 'The image is lost'
tell sgw volume detach vm
tell rm vm.img

explain 'It is restored, and the system boots meanwhile'
tell sgw snapshot restore booted --image vm2.img --attach --rate "$rate"
boot booted 2
read -r state percent reads ms_each < <(of_export 'const { state, doneBytes, totalBytes, demandReads, demandReadMs } = it.restore;
  [state, Math.floor((doneBytes / totalBytes) * 100), demandReads, Math.round(demandReadMs / demandReads)].join(" ")')
echo "at its end $percent % was restored ($state); $reads reads were of what was not there yet, $ms_each ms each"
[ "$state" = restoring ] || fail 'the restore was faster than the boot: nothing is shown'

explain 'The rest at full speed'
tell sgw volume detach booted
tell sgw snapshot restore booted --image vm2.img --resume
tell e2fsck -fn vm2.img
tell debugfs -R 'cat /var/boots' vm2.img >boots 2>&1
cat boots
grep -qx 2 boots || fail 'the boot counter in the image is not 2'

echo
echo PASS
