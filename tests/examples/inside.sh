# What the demo's QEMU guest runs, with busybox: the steps of inside.py, told to the host in the same lines.
# The host puts its plan before this as shell variables: steps, host, dns_server, name, download, upload, inbound, ...

sha() {
    sha256sum "$1" | cut -d ' ' -f 1
}

step_dns() {
    answer=$(nslookup -type=a "$name" "$dns_server" | awk '/^Name/ {found = 1} found && /^Address/ {print $NF; exit}')
    server=$(awk '/^nameserver/ {print $2; exit}' /etc/resolv.conf)
    echo "@done dns server=$server answer=$answer"
}

step_ping() {
    ping -c 3 -W 2 "$host" > /tmp/ping
    got=$(awk '/received/ {print $4}' /tmp/ping)
    ms=$(awk -F '[=/ ]+' '/round-trip/ {print $6}' /tmp/ping)
    echo "@done ping sent=3 got=$got ms=$ms"
}

# nc copies a kilobyte at a time; the program it runs with -e copies much more.
step_download() {
    nc "$host" "$download" -e sh -c 'cat > /tmp/file'
    echo "@moved download"
    echo "@done download sha=$(sha /tmp/file)"
}

step_upload() {
    nc "$host" "$upload" -e cat /tmp/file
    echo "@done upload"
}

step_inbound() {
    nc -l -p "$inbound" -e cat
    echo "@done inbound"
}

step_give() {
    ip addr add "$own/24" dev eth0
    head -c "$size" /dev/urandom > /tmp/file
    echo "@sum give sha=$(sha /tmp/file)"
    nc -l -p "$inbound" -e cat /tmp/file
    # The other guest says when it has everything: this one must not be off before.
    nc -l -p "$inbound" < /dev/null
    echo "@done give"
}

step_take() {
    ip addr add "$own/24" dev eth0
    until nc "$peer" "$inbound" -e sh -c 'cat > /tmp/file' 2> /dev/null && [ -s /tmp/file ]; do sleep 0.1; done
    echo "@moved take"
    echo "@done take sha=$(sha /tmp/file) size=$(wc -c < /tmp/file)"
    until nc "$peer" "$inbound" < /dev/null 2> /dev/null; do sleep 0.1; done
}

for step in $steps; do
    echo "@start $step"
    "step_$step"
done
