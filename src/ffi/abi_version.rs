//! The version of the ABI. The build script includes this file, so that the SONAME cannot differ from it.

/// The major version of the ABI. It grows with an incompatible change, and the SONAME of the library carries it.
pub const CWL_ABI_MAJOR: u32 = 0;

/// The minor version of the ABI. It grows with each addition.
pub const CWL_ABI_MINOR: u32 = 2;

/// The version of the ABI that this header describes: `CWL_ABI_MAJOR << 16 | CWL_ABI_MINOR`. `cwl_abi_version` returns
/// this number or a higher one when the library has the same major version.
pub const CWL_ABI_VERSION: u32 = (CWL_ABI_MAJOR << 16) | CWL_ABI_MINOR;
