//! How the worker gives up everything it does not need, in named stages, before the first packet.
//!
//! | stage | when | what is gone afterwards |
//! |---|---|---|
//! | [`detach`] | first | the terminal, its process group and its signals; life beyond the parent |
//! | [`close_descriptors`] | next | every descriptor but standard error and the control socket |
//! | [`raise_limits`] | while it is still allowed | the soft limit on descriptors (each flow has one) |
//! | [`drop_privileges`] | next | every capability, for ever; gaining any by executing a program |
//! | Landlock rules | after that, once they are written | the file system |
//! | system call filter | last, once it is written | every system call the loop does not make |
//!
//! Later stages rely on the earlier ones: `no_new_privs` is what lets an unprivileged process install the last two.

use crate::sys;
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::io;
use std::os::fd::RawFd;

/// All stages, in order. `control` is the control socket; `parent` is the process that must outlive this one.
pub fn isolate(control: RawFd, parent: u32) -> io::Result<()> {
    detach(parent)?;
    close_descriptors(control)?;
    raise_limits();
    drop_privileges()
}

/// A session of its own, so that Ctrl-C in the parent's terminal does not reach it, and death with the parent.
pub fn detach(parent: u32) -> io::Result<()> {
    // Fails only for a process group leader, which is alone in its group already.
    let _ = rustix::process::setsid();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above; then nobody would ever tell.
    let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
    if now == parent { Ok(()) } else { Err(io::Error::other("the parent process is gone")) }
}

/// Standard error stays, for a last word; everything else but the control socket goes.
pub fn close_descriptors(control: RawFd) -> io::Result<()> {
    sys::close_all_but(&[control])
}

/// As many flows as the host lets this process have.
pub fn raise_limits() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit { current: limit.maximum, maximum: limit.maximum },
    );
}

/// No capability now, none by inheritance, none by execution.
pub fn drop_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    let _ = rustix::thread::clear_ambient_capability_set();
    for capability in CapabilitySet::all().iter() {
        // Without CAP_SETPCAP the bounding set cannot shrink; no_new_privs makes it worthless to others.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    Ok(())
}
