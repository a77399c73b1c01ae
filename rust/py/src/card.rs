//! A card whose registers are a model in Python, served over vfio-user.

use crate::{errno, os};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use wirebay_dataplane::sys;
use wirebay_dataplane::vfio::{Device, Ended, Layout, Session, Status, Step};

/// Where an exception of the model waits until it can be raised.
type Failure = Arc<Mutex<Option<PyErr>>>;

/// The model as the server sees it.
struct Model {
    object: Py<PyAny>,
    failure: Failure,
}

impl Model {
    fn call<T>(&self, work: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T>) -> Result<T, Ended> {
        Python::attach(|py| {
            work(self.object.bind(py)).map_err(|error| {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                "the model failed".into()
            })
        })
    }
}

impl Device for Model {
    fn read(&self, bar: u32, offset: u64, size: usize, now: u64) -> Result<u32, Ended> {
        self.call(|model| {
            model.call_method1(intern!(model.py(), "read"), (bar, offset, size, now))?.extract()
        })
    }

    fn write(&self, bar: u32, offset: u64, size: usize, value: u32, now: u64) -> Result<(), Ended> {
        self.call(|model| {
            model.call_method1(intern!(model.py(), "write"), (bar, offset, size, value, now)).map(drop)
        })
    }

    fn reset(&self, now: u64) -> Result<(), Ended> {
        self.call(|model| model.call_method1(intern!(model.py(), "reset"), (now,)).map(drop))
    }

    fn receive(&self, frame: &[u8], now: u64) -> Result<(), Ended> {
        self.call(|model| {
            let frame = PyBytes::new(model.py(), frame);
            model.call_method1(intern!(model.py(), "receive"), (frame, now)).map(drop)
        })
    }

    fn overflow(&self, now: u64) -> Result<(), Ended> {
        self.call(|model| model.call_method1(intern!(model.py(), "overflow"), (now,)).map(drop))
    }

    fn run(&self, now: u64) -> Result<(), Ended> {
        self.call(|model| model.call_method1(intern!(model.py(), "run"), (now,)).map(drop))
    }

    fn status(&self) -> Result<Status, Ended> {
        self.call(|model| {
            let status = model.call_method0(intern!(model.py(), "status"))?;
            let (frames, interrupt, vectors, receives, busy, deadline) = status.extract()?;
            Ok(Status { frames, interrupt, vectors, receives, busy, deadline })
        })
    }
}

/// The server of one card.
#[pyclass(frozen, module = "wirebay._core")]
pub struct CardServer {
    session: Session,
    failure: Failure,
}

#[pymethods]
impl CardServer {
    #[new]
    #[pyo3(signature = (frames, *, config, writable, bars, rom, vectors = 0, patience = 20_000))]
    fn new(
        frames: i32,
        config: [u8; 256],
        writable: [u8; 256],
        bars: [u64; 6],
        rom: Vec<u8>,
        vectors: u16,
        patience: u64,
    ) -> PyResult<Self> {
        if !(rom.is_empty() || rom.len().is_power_of_two()) {
            return Err(PyValueError::new_err("the length of a ROM is a power of two"));
        }
        let layout = Layout { config: [config, writable], bars, rom, vectors, patience };
        let session = Session::new(layout, sys::adopt(frames).map_err(os)?).map_err(os)?;
        Ok(CardServer { session, failure: Failure::default() })
    }

    fn insert(&self, model: Py<PyAny>) -> PyResult<()> {
        let model = Model { object: model, failure: self.failure.clone() };
        let inserted = self.session.insert(Box::new(model));
        inserted.then_some(()).ok_or_else(|| PyRuntimeError::new_err("there is a model already"))
    }

    fn wait_for_client(&self, py: Python<'_>, listener: i32) -> PyResult<bool> {
        let listener = sys::adopt(listener).map_err(os)?;
        py.detach(|| self.session.wait_for_client(listener.as_fd())).map_err(PyRuntimeError::new_err)
    }

    fn serve(&self, py: Python<'_>, socket: i32) -> PyResult<String> {
        let socket = sys::adopt(socket).map_err(os)?;
        let ended = py.detach(|| self.session.serve(socket));
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(ended),
        }
    }

    fn stop(&self) {
        self.session.stop();
    }

    fn read<'py>(&self, py: Python<'py>, address: u64, size: usize) -> PyResult<Bound<'py, PyBytes>> {
        PyBytes::new_with(py, size, |buf| {
            let mut done = 0;
            while done < size {
                let place = address.checked_add(done as u64).ok_or_else(|| errno(Errno::FAULT))?;
                done += match self.session.read(place, &mut buf[done..]).map_err(errno)? {
                    Step::Done(len) => len,
                    Step::Remote(len) => {
                        let part = &mut buf[done..done + len];
                        py.detach(|| self.session.read_remote(place, part)).map_err(errno)?
                    }
                };
            }
            Ok(())
        })
    }

    fn write(&self, py: Python<'_>, address: u64, data: &[u8]) -> PyResult<()> {
        let mut done = 0;
        while done < data.len() {
            let place = address.checked_add(done as u64).ok_or_else(|| errno(Errno::FAULT))?;
            done += match self.session.write(place, &data[done..]).map_err(errno)? {
                Step::Done(len) => len,
                Step::Remote(len) => {
                    let part = &data[done..done + len];
                    py.detach(|| self.session.write_remote(place, part)).map_err(errno)?
                }
            };
        }
        Ok(())
    }
}
