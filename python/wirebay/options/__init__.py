"""QEMU's option grammar and the typed options Wirebay reads from it."""
