//! `wirebay._core`: what Python gets from Rust. Exports only; the work is in the other crates.
#![forbid(unsafe_code)]

mod card;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::io;
use wirebay_dataplane::{protocol, sys};

#[allow(clippy::needless_pass_by_value)] // the shape `map_err` wants
fn os(error: io::Error) -> PyErr {
    match error.raw_os_error() {
        // With an error number Python picks the right subclass (PermissionError, FileNotFoundError, ...).
        Some(number) => PyOSError::new_err((number, text(number))),
        None => PyOSError::new_err(error.to_string()),
    }
}

/// What the system says, without the number that Rust puts behind it.
fn text(number: i32) -> String {
    let whole = io::Error::from_raw_os_error(number).to_string();
    whole.split(" (os error").next().unwrap_or_default().to_owned()
}

fn errno(error: rustix::io::Errno) -> PyErr {
    os(error.into())
}

#[pyfunction]
#[pyo3(signature = (fd, confine = true))]
fn run_worker(py: Python<'_>, fd: i32, confine: bool) -> PyResult<()> {
    let parent = confine.then(std::os::unix::process::parent_id);
    let control = sys::adopt(fd).map_err(os)?;
    py.detach(|| wirebay_dataplane::run(control, parent)).map_err(os)
}

#[pyfunction]
fn unshare(flags: i32) -> PyResult<()> {
    sys::unshare(flags).map_err(os)
}

#[pyfunction]
fn setns(fd: i32, nstype: i32) -> PyResult<()> {
    sys::setns(fd, nstype).map_err(os)
}

#[pyfunction]
fn bind_mount(source: &str, target: &str) -> PyResult<()> {
    rustix::mount::mount_bind(source, target).map_err(errno)
}

#[pyfunction]
fn make_mounts_private() -> PyResult<()> {
    use rustix::mount::MountPropagationFlags as Flags;
    rustix::mount::mount_change("/", Flags::REC | Flags::PRIVATE).map_err(errno)
}

#[pyfunction]
fn mount_tmpfs(target: &str) -> PyResult<()> {
    use rustix::mount::MountFlags as Flags;
    let flags = Flags::NOSUID | Flags::NODEV | Flags::NOEXEC;
    rustix::mount::mount("tmpfs", target, "tmpfs", flags, None).map_err(errno)
}

#[pyfunction]
fn detach_mount(target: &str) -> PyResult<()> {
    rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH).map_err(errno)
}

#[pyfunction]
fn set_parent_death_signal(sig: i32) -> PyResult<()> {
    let signal = rustix::process::Signal::from_named_raw(sig);
    let signal = signal.ok_or_else(|| PyOSError::new_err((22, "no such signal")))?;
    rustix::process::set_parent_process_death_signal(Some(signal)).map_err(errno)
}

/// The module.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("PROTOCOL_VERSION", protocol::VERSION)?;
    module.add_class::<card::CardServer>()?;
    module.add_function(wrap_pyfunction!(run_worker, module)?)?;
    module.add_function(wrap_pyfunction!(unshare, module)?)?;
    module.add_function(wrap_pyfunction!(setns, module)?)?;
    module.add_function(wrap_pyfunction!(bind_mount, module)?)?;
    module.add_function(wrap_pyfunction!(make_mounts_private, module)?)?;
    module.add_function(wrap_pyfunction!(mount_tmpfs, module)?)?;
    module.add_function(wrap_pyfunction!(detach_mount, module)?)?;
    module.add_function(wrap_pyfunction!(set_parent_death_signal, module)?)?;
    Ok(())
}
