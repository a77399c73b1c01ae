#!/bin/bash
# mkroot.sh DIR [PACKAGE...]: a Debian 13 in DIR with the peers that `make bench ARGS='--root DIR'` compares with,
# and QEMU from backports; for hosts whose own distribution has them older or not at all. Takes about two minutes.
#
# Needs root. Packages come from the mirror that the host's apt uses. Nothing stays mounted: `rm -rf DIR` removes it.
set -euo pipefail

PEERS=(slirp4netns passt gvproxy iperf3 iproute2)
MACHINE=(qemu-system-x86 seabios ipxe-qemu)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

if [ $# -eq 0 ] || [ "$(id -u)" != 0 ]; then
    echo "mkroot.sh: run it as root: mkroot.sh DIR [PACKAGE...]" >&2
    exit 2
fi
# In a mount namespace of its own from here on.
if [ "${WIREBAY_MKROOT:-}" != inside ]; then
    "$(dirname "$0")/need.sh" debootstrap=debootstrap
    WIREBAY_MKROOT=inside exec unshare --mount --propagation private "$0" "$@"
fi

root=$(realpath -m "$1")
shift
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 'Created-By: Packages' | sort -u | head -n 1)
if [ -z "$mirror" ]; then
    echo "mkroot.sh: this host's apt knows no Debian mirror: run 'apt-get update' on a Debian host" >&2
    exit 1
fi

if [ ! -x "$root/usr/bin/apt-get" ]; then
    debootstrap --variant=minbase trixie "$root" "$mirror" > /dev/null
fi
cat > "$root/etc/apt/sources.list.d/debian.sources" <<EOF
Types: deb
URIs: $mirror
Suites: trixie trixie-backports
Components: main
Signed-By: $KEYRING
EOF
rm -f "$root/etc/apt/sources.list"
mkdir -p "$root${KEYRING%/*}"
cp -n "$KEYRING" "$root$KEYRING" 2> /dev/null || true
# How this host reaches the mirror: proxies, certificates' names, resolvers.
find /etc/apt/apt.conf.d -name '*prox*' -exec cp {} "$root/etc/apt/apt.conf.d/" \;
cp /etc/hosts /etc/resolv.conf "$root/etc/"
for folder in dev proc sys; do
    mount --rbind "/$folder" "$root/$folder"
done

inside() {
    DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
}
inside apt-get update -qq
inside apt-get install -qq -y --no-install-recommends -t trixie-backports "${MACHINE[@]}" passt > /dev/null
inside apt-get install -qq -y --no-install-recommends "${PEERS[@]}" "$@" > /dev/null
inside qemu-system-x86_64 --version | head -n 1
