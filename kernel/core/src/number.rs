//! The numbers by which tasks name their handles.

/// The number by which a task names one of its handles, as a register holds it. Any number may
/// occur: one that names no handle is refused where it is looked up.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandleNumber(u64);

impl HandleNumber {
    /// The number that this register holds.
    #[inline(always)]
    pub const fn from_register(value: u64) -> Self {
        HandleNumber(value)
    }

    /// The number, as a register holds it.
    #[inline(always)]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The lower half of the number, which is all of it if there is such a handle.
    #[inline(always)]
    pub const fn to_u32(self) -> u32 {
        self.0 as u32
    }
}

impl core::fmt::LowerHex for HandleNumber {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}
