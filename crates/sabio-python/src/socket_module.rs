//! What this package takes from the interpreter's `socket` and `ssl` modules: functions that a user may have replaced,
//! classes, and the members of the enumerations that answers are made of. Looked up once, when the module is
//! initialised.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule};

use crate::ffi::{Global, Obj};
use crate::names::{Name, names};

/// The interpreter's `socket`.
pub(crate) struct SocketModule {
    /// The `__dict__` of the module.
    dict: Obj,
    /// The module's own functions; `None` where they had been replaced before we could see them.
    getaddrinfo: Option<Obj>,
    getnameinfo: Option<Obj>,
    pub(crate) gaierror: Obj,
    /// `socket.socket` as it was at import.
    pub(crate) socket_class: Obj,
    /// Whether that was the module's own.
    socket_class_is_own: bool,
    /// `connect()` of the interpreter's own class.
    connect: Obj,
    /// `ssl.SSLSocket`, where there is an `ssl` module.
    pub(crate) ssl_socket: Option<Obj>,
    pub(crate) sock_stream: i32,
    pub(crate) sock_dgram: i32,
    pub(crate) af_inet: i32,
    pub(crate) af_inet6: i32,
    pub(crate) ai_numerichost: i32,
    families: Members,
    socktypes: Members,
}

/// An enumeration and its most used members.
struct Members {
    class: Obj,
    known: Vec<(i32, Obj)>,
}

impl Members {
    fn new(module: &Bound<'_, PyModule>, class: &str, names: &[&str]) -> PyResult<Members> {
        let mut known = Vec::new();
        for name in names {
            let member = module.getattr(*name)?;
            known.push((member.extract()?, Obj::from(member)));
        }
        Ok(Members {
            class: module.getattr(class)?.into(),
            known,
        })
    }

    /// The member with this value, or the bare number if there is none.
    #[inline]
    fn get(&self, py: Python<'_>, value: i32) -> PyResult<Obj> {
        if let Some((_, member)) = self.known.iter().find(|(known, _)| *known == value) {
            return Ok(member.clone());
        }
        match self.class.bind(py).call1((value,)) {
            Ok(member) => Ok(member.into()),
            Err(error) if error.is_instance_of::<PyValueError>(py) => {
                Ok(value.into_pyobject(py)?.into_any().into())
            }
            Err(error) => Err(error),
        }
    }
}

impl SocketModule {
    fn new(py: Python<'_>) -> PyResult<SocketModule> {
        let module = py.import("socket")?;
        let native = py.import("_socket")?;
        let dict = module.dict();
        let getaddrinfo = module.getattr("getaddrinfo")?;
        // A function that was defined in the module sees the module's own names, one put there by others does not.
        let is_own = getaddrinfo
            .getattr_opt("__globals__")?
            .is_some_and(|globals| globals.is(&dict));
        let getnameinfo = module.getattr("getnameinfo")?;
        let getnameinfo_is_own = getnameinfo.is(&native.getattr("getnameinfo")?);
        let socket_class = module.getattr("socket")?;
        let socket_class_is_own = socket_class.getattr("__module__")?.eq("socket")?;
        let number = |name: &str| -> PyResult<i32> { module.getattr(name)?.extract() };
        Ok(SocketModule {
            sock_stream: number("SOCK_STREAM")?,
            sock_dgram: number("SOCK_DGRAM")?,
            af_inet: number("AF_INET")?,
            af_inet6: number("AF_INET6")?,
            ai_numerichost: number("AI_NUMERICHOST")?,
            getaddrinfo: is_own.then(|| getaddrinfo.into()),
            getnameinfo: getnameinfo_is_own.then(|| getnameinfo.into()),
            gaierror: module.getattr("gaierror")?.into(),
            socket_class: socket_class.into(),
            socket_class_is_own,
            connect: native.getattr("socket")?.getattr("connect")?.into(),
            ssl_socket: match py.import("ssl") {
                Ok(ssl) => Some(ssl.getattr("SSLSocket")?.into()),
                Err(_) => None,
            },
            families: Members::new(&module, "AddressFamily", &["AF_INET", "AF_INET6", "AF_UNIX"])?,
            socktypes: Members::new(&module, "SocketKind", &["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW"])?,
            dict: dict.into(),
        })
    }

    /// What the module holds under `name` now.
    pub(crate) fn current<'py>(&self, py: Python<'py>, name: &Name) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.dict.bind(py).cast::<PyDict>()?.get_item(name.bind(py))
    }

    fn replaced<'py>(
        &self,
        py: Python<'py>,
        name: &Name,
        own: Option<&Obj>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let current = self.current(py, name)?;
        Ok(current.filter(|current| !own.is_some_and(|own| own.is(current))))
    }

    /// What stands in the place of `socket.getaddrinfo`, if it is not the module's own.
    #[inline]
    pub(crate) fn replaced_getaddrinfo<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.replaced(py, &names(py)?.getaddrinfo, self.getaddrinfo.as_ref())
    }

    /// What stands in the place of `socket.getnameinfo`, if it is not the module's own.
    pub(crate) fn replaced_getnameinfo<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.replaced(py, &names(py)?.getnameinfo, self.getnameinfo.as_ref())
    }

    /// Whether a program has put a class in the place of `socket.socket`, or a function in that of its `connect()`: to
    /// forbid connections in tests, or to lead them elsewhere.
    pub(crate) fn is_connecting_replaced(&self, py: Python<'_>) -> PyResult<bool> {
        let names = names(py)?;
        let own = Some(&self.socket_class).filter(|_| self.socket_class_is_own);
        if self.replaced(py, &names.socket, own)?.is_some() {
            return Ok(true);
        }
        let connect = self.socket_class.bind(py).getattr(names.connect.text(py))?;
        Ok(!self.connect.is(&connect))
    }

    /// The member of `socket.AddressFamily`, or the number where there is none.
    #[inline]
    pub(crate) fn family(&self, py: Python<'_>, family: i32) -> PyResult<Obj> {
        self.families.get(py, family)
    }

    /// The member of `socket.SocketKind`, or the number where there is none.
    #[inline]
    pub(crate) fn socktype(&self, py: Python<'_>, socktype: i32) -> PyResult<Obj> {
        self.socktypes.get(py, socktype)
    }
}

static SOCKET: Global<SocketModule> = Global::new();

/// The interpreter's `socket`. SystemError before the module is initialised.
#[inline]
pub(crate) fn socket_module(py: Python<'_>) -> PyResult<&'static SocketModule> {
    SOCKET.get(py)
}

/// Looks everything up; called once by the module.
pub(crate) fn init(py: Python<'_>) -> PyResult<()> {
    SOCKET.set(py, SocketModule::new(py)?);
    Ok(())
}
