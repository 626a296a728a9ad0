//! Gives the crate PyO3's `Py_3_x` configuration flags.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
