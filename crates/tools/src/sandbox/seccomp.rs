//! The system calls a program may not make: doors into the kernel that no build, test or script needs.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is,
    SeccompCondition as Condition, SeccompFilter, SeccompRule as Rule, sock_filter,
};

/// Refused whatever their arguments are.
const DENIED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// `clone` with one of these makes a namespace.
const NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// `ioctl` with one of these types for whoever owns the terminal, or changes how it is read.
const TERMINAL: &[u64] = &[libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD];

/// The families of addresses there are in a sandbox; what is reachable by them its own network decides.
const FAMILIES: &[libc::c_int] = &[libc::AF_INET, libc::AF_INET6];

/// The filter as the kernel takes it: `struct sock_filter`, one after the other.
///
/// # Errors
/// When the processor is none the filter can be made for.
pub(super) fn filter() -> Result<Vec<u8>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<Rule>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let flag = |flag: &libc::c_int| {
        let bit = u64::from(flag.unsigned_abs());
        Rule::new(vec![Condition::new(0, Length::Qword, Is::MaskedEq(bit), bit)?])
    };
    rules.insert(libc::SYS_clone, NAMESPACES.iter().map(flag).collect::<Result<_, _>>()?);
    let request = |code: &u64| Rule::new(vec![Condition::new(1, Length::Dword, Is::Eq, *code)?]);
    rules.insert(libc::SYS_ioctl, TERMINAL.iter().map(request).collect::<Result<_, _>>()?);
    let other =
        |family: &libc::c_int| Condition::new(0, Length::Dword, Is::Ne, u64::from(family.unsigned_abs()));
    let others = FAMILIES.iter().map(other).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_socket, vec![Rule::new(others)?]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    Ok(unreadable().into_iter().chain(program).flat_map(|step| bytes(&step)).collect())
}

/// What the filter cannot look into does not exist: `clone3`, whose flags are behind a pointer (libraries fall back to
/// `clone`), and the second set of numbers that 64-bit Intel processors have.
fn unreadable() -> Vec<sock_filter> {
    let load_number = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let at_least = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    let clone3 = u32::try_from(libc::SYS_clone3).unwrap_or(u32::MAX);
    let second_set = if cfg!(target_arch = "x86_64") { 0x4000_0000 } else { u32::MAX };
    let step =
        |code: u32, jt, jf, k| sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k };
    vec![
        step(load_number, 0, 0, 0),
        step(equal, 1, 0, clone3),
        step(at_least, 0, 1, second_set),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, missing),
    ]
}

fn bytes(step: &sock_filter) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&step.code.to_ne_bytes());
    (bytes[2], bytes[3]) = (step.jt, step.jf);
    bytes[4..].copy_from_slice(&step.k.to_ne_bytes());
    bytes
}
