//! Keeps glibc's allocator from holding on to memory.
//!
//! glibc maps memory of its own for each large buffer, but raises what it takes for large to the largest one that was ever
//! freed. From then on the tables that sled makes for each generation (5 MB, hardly touched) come out of used
//! memory and are cleared, page by page. And it keeps a heap for each thread, while the store's threads come and go with
//! every generation. Peaks with a backlog of 3,000,000 records, taking in and draining: 81 and 106 MiB as glibc has it,
//! 67 and 61 with the limit fixed, 56 and 40 with one heap as well, at the same speed; 136 and 158 with mimalloc. Other
//! C libraries are left alone.

/// Call once, before there are threads.
pub fn hold_on_to_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        glibc::set(libc::M_MMAP_THRESHOLD, glibc::MMAP_THRESHOLD_BYTES);
        glibc::set(libc::M_TOP_PAD, glibc::TOP_PAD_BYTES);
        glibc::set(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    /// Half of glibc's own initial value, and setting it is what keeps it.
    pub(super) const MMAP_THRESHOLD_BYTES: libc::c_int = 64 * 1024;

    /// What the heap grows by beyond what was asked for; less than what is large, which would come out of it otherwise. rmqtt
    /// takes 64 KiB, cleared, for each connection that it accepts, and leaves all of that touched to the 16 KiB of buffers
    /// of the connection, which hardly use theirs.
    pub(super) const TOP_PAD_BYTES: libc::c_int = 32 * 1024;

    #[expect(
        unsafe_code,
        reason = "mallopt takes two integers and has no safe wrapper; it is called before there are threads"
    )]
    pub(super) fn set(option: libc::c_int, value: libc::c_int) {
        // A refusal costs memory and nothing else.
        let _refused = unsafe { libc::mallopt(option, value) } == 0;
    }
}
