#!/bin/sh
# need.sh PROGRAM=PACKAGE...: see that each program exists; what is missing comes from its Debian package.
# Root, or a user whose sudo asks no password, gets it installed; anybody else gets one sentence and status 1.
set -u
PATH=$PATH:/usr/sbin:/sbin

missing=
for pair in "$@"; do
    command -v "${pair%%=*}" > /dev/null || missing="$missing ${pair#*=}"
done
# Several programs may come from one package; a package list may be joined with commas.
packages=$(printf "%s\n" $missing | tr , "\n" | sort -u | paste -sd " ")
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif sudo -n true 2> /dev/null; then
    as_root='sudo -n'
else
    as_root=none
fi
if [ "$as_root" = none ] || ! command -v apt-get > /dev/null; then
    echo "Missing: install $packages (on Debian: apt-get install $packages) and try again." >&2
    exit 1
fi

echo "Installing $packages"
install() {
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends $packages > /dev/null
}
install 2> /dev/null || { $as_root apt-get update -qq && install; } || {
    echo "The packages $packages could not be installed: see the lines of apt-get above." >&2
    exit 1
}
