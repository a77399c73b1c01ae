#!/bin/busybox sh
# The first process of a test guest: brings up every network card, asks for a lease on each, runs the script
# that came with the machine (fw_cfg file opt/org.wirebay.script, base64), and ends the machine.
# What the host must read starts with @ at the beginning of a line.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ip link set lo up

while read -r module; do
    insmod "/modules/$module.ko" 2>/dev/null
done < /modules/order

for card in $(ls /sys/class/net | grep -v '^lo$'); do
    ip link set "$card" up
done
echo # the firmware's last line has no end
for card in $(ls /sys/class/net | grep -v '^lo$'); do
    driver=$(basename "$(readlink "/sys/class/net/$card/device/driver")")
    echo "@nic $card driver=$driver mac=$(cat "/sys/class/net/$card/address")"
    udhcpc -i "$card" -n -q -f -t 20 -T 1 -O mtu -O search -O tftp -O bootfile -s /bin/lease.sh > /tmp/dhcp.log 2>&1
    grep '^@lease' /tmp/dhcp.log || echo "@nolease $card $(tail -n 1 /tmp/dhcp.log)"
done

echo @begin
script=/sys/firmware/qemu_fw_cfg/by_name/opt/org.wirebay.script/raw
if [ -e "$script" ]; then
    base64 -d < "$script" > /tmp/script.sh
    sh /tmp/script.sh
    echo "@end status=$?"
else
    echo "@end status=0"
fi
# What the script sent may still be on its way after its programs have ended.
for _ in $(seq 100); do
    netstat -tn | grep -qE 'FIN_WAIT1|CLOSING|LAST_ACK' || break
    sleep 0.1
done
# With -no-reboot this ends QEMU on every machine type; a power-off would need ACPI, which isapc lacks.
reboot -f
