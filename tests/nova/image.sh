#!/usr/bin/env bash
# $R/images: Debian's cloud kernel, and a busybox with guest-init, out of packages that are not installed.
set -euo pipefail
# shellcheck source=tests/nova/environment.sh
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

mkdir -p "$R/images/tree/bin" "$R/images/tree/modules"
cd "$R/images"
if [[ ! -e vmlinuz ]]; then
    kernel() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p'; }
    [[ -n $(kernel) ]] || apt-get update -qq
    package=$(kernel | head -n 1)
    apt-get download -qq -o APT::Sandbox::User=root "$package" busybox-static
    for archive in *.deb; do dpkg -x "$archive" unpacked; done
    cp unpacked/boot/vmlinuz-* vmlinuz.new
    cp unpacked/bin/busybox tree/bin/
    mv vmlinuz.new vmlinuz
fi
release=$(basename unpacked/lib/modules/*)
[[ -f unpacked/lib/modules/$release/modules.dep ]] || depmod -b unpacked "$release"
order=()
for module in virtio_pci virtio_blk virtio_net acpiphp button evdev; do
    while read -r file; do
        name=$(basename "$file")
        [[ " ${order[*]-} " == *" $name "* ]] || order+=("$name")
        cp "$file" tree/modules/
    done < <(modprobe -d "$R/images/unpacked" -S "$release" --show-depends "$module" 2>/dev/null | awk '/^insmod/{print $2}')
done
printf '%s\n' "${order[@]}" >tree/modules/order
install -m 755 "$H/guest-init" tree/init
(cd tree && find . | cpio -o -H newc --quiet --owner=0:0 | gzip -1) >initrd
[[ -e disk ]] || truncate -s 16M disk
