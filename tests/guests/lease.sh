#!/bin/busybox sh
# Called by udhcpc: puts the lease into force and prints it.
case $1 in
bound | renew) ;;
*) exit 0 ;;
esac

ip addr flush dev "$interface"
ip addr add "$ip/$mask" dev "$interface"
[ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
[ -n "$router" ] && ip route add default via "${router%% *}" dev "$interface"
: > /etc/resolv.conf
[ -n "$search$domain" ] && echo "search ${search:-$domain}" >> /etc/resolv.conf
for server in $dns; do
    echo "nameserver $server" >> /etc/resolv.conf
done
echo "@lease $interface ip=$ip mask=$mask router=$router dns=$dns mtu=$mtu seconds=$lease server=$serverid" \
    "hostname=$hostname domain=$domain tftp=$tftp bootfile=$boot_file"
