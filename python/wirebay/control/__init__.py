"""Control while it runs: a QMP server on a unix socket, and the client behind `wirebay ctl`.

Theory of operation
===================

A client's bytes pass four layers, of which only the last does I/O:

    message.py   bytes to requests, and replies and events to bytes: the codec
    session.py   one client's conversation: capabilities first, then one command after the other
    table.py     what a command is: its name, the types of its arguments, a function
    commands/    the commands, one file per group; monitor.py is the human one behind them
    server.py    the socket, the clients, and their limits; place.py is the socket's file

Commands run one at a time per client, in the order they came, and a client's next bytes are not read before
the reply is on its way; several clients run side by side. A command that a client left behind runs to its
end: half a `netdev_add` would help nobody.

Events come from the network (`Network.watch`) and go to every client that has negotiated. Nothing here ever
waits for a client: what one does not read is kept up to a limit, then the client is dropped. The packets are
moved by another process and never notice any of this.

Source: QEMU's interop/qmp-spec, and QEMU 7.2 observed for what the specification leaves open. docs/control.md
has the commands, the events and the differences.
"""
