//! The functions of OpenSSL that are called, found through the extension module `_ssl`.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// `SSL`, of which only addresses are known.
#[repr(C)]
pub(super) struct Ssl([u8; 0]);

/// `BIO`.
#[repr(C)]
pub(super) struct Bio([u8; 0]);

/// `EVP_PKEY`.
#[repr(C)]
pub(super) struct Key([u8; 0]);

/// `BIO_METHOD`.
#[repr(C)]
pub(super) struct BioMethod([u8; 0]);

/// The callback that reads: where to, how much at most, how much it was. 1, or 0 or less with the flags saying why.
pub(super) type BioRead = unsafe extern "C" fn(*mut Bio, *mut c_char, usize, *mut usize) -> c_int;

/// The callback that writes.
pub(super) type BioWrite = unsafe extern "C" fn(*mut Bio, *const c_char, usize, *mut usize) -> c_int;

/// The callback for everything else that a BIO is asked.
pub(super) type BioControl = unsafe extern "C" fn(*mut Bio, c_int, c_long, *mut c_void) -> c_long;

/// The callback before a BIO is freed.
pub(super) type BioDestroy = unsafe extern "C" fn(*mut Bio) -> c_int;

// Of the C library, which is linked in any case.
unsafe extern "C" {
    fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dladdr(address: *const c_void, info: *mut SymbolInfo) -> c_int;
}

const RTLD_LAZY: c_int = 1;
const RTLD_NOLOAD: c_int = 4;
const RTLD_DEFAULT: *mut c_void = std::ptr::null_mut();

/// `Dl_info` of dladdr(3).
#[repr(C)]
struct SymbolInfo {
    file: *const c_char,
    base: *mut c_void,
    name: *const c_char,
    address: *mut c_void,
}

/// Declares the table of functions, each with its type in OpenSSL's headers, and how it is filled.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) -> $result:ty;)*) => {
        /// The functions, under OpenSSL's own names. Each is documented in its manual page.
        #[allow(non_snake_case)]
        pub(super) struct Functions {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            /// Looks each up.
            ///
            /// # Safety
            /// What the handle leads to are OpenSSL's functions of these names.
            unsafe fn find(handle: *mut c_void) -> Result<Functions, String> {
                Ok(Functions {
                    $($name: {
                        let address = find(handle, concat!(stringify!($name), "\0"))?;
                        // SAFETY: a function of this name has this type in every OpenSSL since 1.1.1, as the caller vouches.
                        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> $result>(address) }
                    },)*
                })
            }
        }
    };
}

functions! {
    OpenSSL_version_num: fn() -> c_ulong;
    SSL_read_ex: fn(*mut Ssl, *mut c_void, usize, *mut usize) -> c_int;
    SSL_write_ex: fn(*mut Ssl, *const c_void, usize, *mut usize) -> c_int;
    SSL_get_error: fn(*const Ssl, c_int) -> c_int;
    SSL_ctrl: fn(*mut Ssl, c_int, c_long, *mut c_void) -> c_long;
    SSL_set_bio: fn(*mut Ssl, *mut Bio, *mut Bio) -> ();
    SSL_get_ex_data: fn(*const Ssl, c_int) -> *mut c_void;
    SSL_get_ssl_method: fn(*const Ssl) -> *const c_void;
    SSL_version: fn(*const Ssl) -> c_int;
    SSL_free_buffers: fn(*mut Ssl) -> c_int;
    EVP_PKEY_set_type: fn(*mut Key, c_int) -> c_int;
    EVP_PKEY_free: fn(*mut Key) -> ();
    ERR_peek_error: fn() -> c_ulong;
    ERR_clear_error: fn() -> ();
    BIO_get_new_index: fn() -> c_int;
    BIO_meth_new: fn(c_int, *const c_char) -> *mut BioMethod;
    BIO_meth_set_read_ex: fn(*mut BioMethod, BioRead) -> c_int;
    BIO_meth_set_write_ex: fn(*mut BioMethod, BioWrite) -> c_int;
    BIO_meth_set_ctrl: fn(*mut BioMethod, BioControl) -> c_int;
    BIO_meth_set_destroy: fn(*mut BioMethod, BioDestroy) -> c_int;
    BIO_new: fn(*const BioMethod) -> *mut Bio;
    BIO_free: fn(*mut Bio) -> c_int;
    BIO_up_ref: fn(*mut Bio) -> c_int;
    BIO_set_data: fn(*mut Bio, *mut c_void) -> ();
    BIO_get_data: fn(*mut Bio) -> *mut c_void;
    BIO_set_init: fn(*mut Bio, c_int) -> ();
    BIO_set_flags: fn(*mut Bio, c_int) -> ();
    BIO_clear_flags: fn(*mut Bio, c_int) -> ();
}

/// `OPENSSL_VERSION_NUMBER` of the first version that is called directly: 3.0.
const OLDEST: c_ulong = 0x3000_0000;

static FOUND: OnceLock<Functions> = OnceLock::new();

/// The functions, once they have been found.
#[inline]
pub(super) fn found() -> Option<&'static Functions> {
    FOUND.get()
}

/// The functions of the libssl that `_ssl` uses, or why they cannot be had.
pub(super) fn load(module: &Bound<'_, PyModule>) -> Result<&'static Functions, String> {
    let version = module
        .getattr("OPENSSL_VERSION")
        .and_then(|text| text.extract::<String>());
    let number = module
        .getattr("OPENSSL_VERSION_NUMBER")
        .and_then(|number| number.extract::<c_ulong>());
    let (Ok(version), Ok(number)) = (version, number) else {
        return Err("the ssl module does not say which library it uses".to_owned());
    };
    if !version.starts_with("OpenSSL ") || number < OLDEST {
        return Err(format!(
            "the ssl module uses {version}; OpenSSL 3.0 or newer is called directly"
        ));
    }
    let handle = open(module)?;
    // SAFETY: the module has just said that its library is OpenSSL, and the handle leads to what it is linked with.
    let functions = unsafe { Functions::find(handle)? };
    // SAFETY: takes nothing and reads a constant.
    let found = unsafe { (functions.OpenSSL_version_num)() };
    if found != number {
        return Err(format!(
            "the ssl module uses {version}, and another OpenSSL ({found:#x}) was found"
        ));
    }
    Ok(FOUND.get_or_init(|| functions))
}

/// A handle of `_ssl`'s own shared library, through which its libraries are searched; where the interpreter contains
/// `_ssl`, that of everything that is loaded.
fn open(module: &Bound<'_, PyModule>) -> Result<*mut c_void, String> {
    let Ok(file) = module.getattr("__file__") else {
        return Ok(RTLD_DEFAULT);
    };
    let path = encoded(&file).map_err(|error| format!("the file of the module _ssl: {error}"))?;
    // SAFETY: a path that ends with a zero byte; what is loaded already is not loaded again and runs no code.
    let handle = unsafe { dlopen(path.as_ptr(), RTLD_LAZY | RTLD_NOLOAD) };
    if handle.is_null() {
        return Err("the shared library of the module _ssl is not the one that is loaded".to_owned());
    }
    Ok(handle)
}

fn encoded(file: &Bound<'_, PyAny>) -> PyResult<CString> {
    let path = file.py().import("os")?.call_method1("fsencode", (file,))?;
    Ok(CString::new(path.cast::<PyBytes>()?.as_bytes())?)
}

fn find(handle: *mut c_void, name: &str) -> Result<*mut c_void, String> {
    let missing = || {
        format!(
            "the libraries of the module _ssl have no {}",
            name.trim_end_matches('\0')
        )
    };
    let name = CStr::from_bytes_with_nul(name.as_bytes()).map_err(|_| missing())?;
    // SAFETY: a handle of dlopen(3) or the default one, and a name that ends with a zero byte.
    let address = unsafe { dlsym(handle, name.as_ptr()) };
    if address.is_null() {
        Err(missing())
    } else {
        Ok(address)
    }
}

/// Whether both addresses lie in the same loaded library.
pub(super) fn same_library(one: *const c_void, other: *const c_void) -> bool {
    let base = |address| {
        let mut info = SymbolInfo {
            file: std::ptr::null(),
            base: std::ptr::null_mut(),
            name: std::ptr::null(),
            address: std::ptr::null_mut(),
        };
        // SAFETY: any address may be asked for; the answer is written to the structure that dladdr(3) documents.
        (unsafe { dladdr(address, &raw mut info) } != 0).then_some(info.base)
    };
    let first = base(one);
    first.is_some() && first == base(other)
}

/// Whether the pages at `address` are mapped, so that reading there is no fault.
pub(super) fn is_mapped(address: *const c_void) -> bool {
    unsafe extern "C" {
        fn mincore(address: *mut c_void, length: usize, pages: *mut u8) -> c_int;
        fn getpagesize() -> c_uint;
    }
    let mut residence = 0;
    // SAFETY: mincore(2) touches no memory but the one byte for the one page that it is asked about, and fails for an
    // address where nothing is mapped; page sizes are powers of two.
    unsafe {
        let page = getpagesize() as usize;
        let start = address.map_addr(|address| address & !(page - 1));
        mincore(start.cast_mut(), 1, &raw mut residence) == 0
    }
}
