//! Programs that try to get out of the sandbox. Each says `ESCAPED` when it did; what it may have done outside is
//! looked at from outside.

use std::{
    fs,
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    path::Path,
    process,
};

use moongate_tools::{Sandbox, SandboxChoice};
use serde_json::json;

use crate::{World, told};

/// What probes share: a system call by its number here, and an address that is only looked up, never sent to.
const COMMON: &str = r#"
import ctypes, os, socket, sys, platform, struct
C = ctypes.CDLL(None, use_errno=True)
X = platform.machine() == "x86_64"
def call(name, *args):
    number = dict(ptrace=(101, 117), keyctl=(250, 219), add_key=(248, 217), bpf=(321, 280), perf=(298, 241),
        userfaultfd=(323, 282), io_uring=(425, 425), kexec=(246, 104), unshare=(272, 97), setns=(308, 268),
        mount=(165, 40), umount=(166, 39), handle=(304, 265), name=(303, 264), clone=(56, 220), clone3=(435, 435),
        pidfd_open=(434, 434), pidfd_getfd=(438, 438), vm_readv=(310, 270), syslog=(103, 116), open_tree=(428, 428),
        fsopen=(430, 430), pivot=(155, 41), reboot=(169, 142), x32=(0x40000000 + 521, 117))[name][0 if X else 1]
    got = C.syscall(ctypes.c_long(number), *[ctypes.c_void_p(a) if isinstance(a, int) else a for a in args])
    return got, ctypes.get_errno()
def refused(name, *args):
    got, error = call(name, *args)
    if got != -1 or error not in (1, 38): print("ESCAPED", name, got, error)
def family(number, kind=socket.SOCK_STREAM, protocol=0):
    try: socket.socket(number, kind, protocol); print("ESCAPED family", number)
    except OSError: pass
def route(family, address):
    try: socket.socket(family, socket.SOCK_DGRAM).connect(address); print("ESCAPED", address)
    except OSError: pass
def opens(path, mode="rb"):
    try: open(path, mode).close(); print("ESCAPED", path, mode)
    except OSError: pass
"#;

/// Runs each probe in a process of its own; one that cannot be run is as bad as one that gets out.
const EACH: &str = r#"
import builtins, json
def attempt(name, probe):
    global print
    print = lambda *words: builtins.print(name, *words)
    try: exec(probe, globals())
    except BaseException as fault: print("ESCAPED", repr(fault))
    finally:
        sys.stdout.flush()
        os._exit(0)
probes = json.loads(sys.argv[1])
for name, probe in probes:
    sys.stdout.flush()
    child = os.fork()
    if child == 0: attempt(name, probe)
    if os.waitpid(child, 0)[1] != 0: print("ESCAPED", name)
print("tried", len(probes))
"#;

/// Each with its name, and what it does in Python; the words in capitals are replaced by what is outside.
const PROBES: &[(&str, &str)] = &[
    ("accounts", "opens('/etc/shadow'); opens('/etc/gshadow')"),
    ("the operator's home", "assert not os.path.exists('HOMEFOLDER') or print('ESCAPED home')"),
    (
        "keys of ssh",
        "opens('HOMEFOLDER/.ssh/id_ed25519'); assert not os.path.isdir('/etc/ssh') or print('ESCAPED')",
    ),
    ("a file beside the workspace", "opens('CANARY')"),
    ("a file beside it by a link", "opens('/workspace/link'); opens('/workspace/link', 'ab')"),
    (
        "a file beside it by the root of another",
        "opens('/proc/1/root' + 'CANARY'); opens('/proc/self/root' + 'CANARY')",
    ),
    ("a file beside it by steps upwards", "opens('/workspace/../' * 9 + 'CANARY')"),
    ("the folder above", "assert os.listdir('/workspace/..') == os.listdir('/') or print('ESCAPED')"),
    (
        "the gateway's process",
        "opens('/proc/GATEWAY/environ'); opens('/proc/GATEWAY/mem'); opens('/proc/GATEWAY/maps')",
    ),
    (
        "the gateway's links",
        "[print('ESCAPED', n) for n in ('fd', 'cwd', 'root', 'exe', '') if os.path.lexists('/proc/GATEWAY/' + n)]",
    ),
    (
        "processes of others",
        "n = [p for p in os.listdir('/proc') if p.isdigit()]; assert len(n) <= 3 or print('ESCAPED', n)",
    ),
    ("memory of the first process", "opens('/proc/1/mem', 'r+b')"),
    ("the kernel's log", "refused('syslog', 3, 0, 0); opens('/dev/kmsg'); opens('/dev/kmsg', 'wb')"),
    (
        "addresses of the kernel",
        "a = open('/proc/kallsyms').read(4000) if os.path.exists('/proc/kallsyms') else ''\n\
         assert all(int(l.split()[0], 16) == 0 for l in a.splitlines()[:-1]) or print('ESCAPED')",
    ),
    (
        "memory of the machine",
        "[opens(p, 'r+b') for p in ('/dev/mem', '/dev/kmem', '/dev/port', '/proc/kcore')]",
    ),
    (
        "devices",
        "[opens(p) for p in ('/dev/sda', '/dev/vda', '/dev/nvme0n1', '/dev/fuse', '/dev/kvm', '/dev/net/tun')]",
    ),
    ("the system's tree of devices", "assert not os.path.exists('/sys') or print('ESCAPED')"),
    (
        "variables",
        "assert set(os.environ) == set('HOME LANG PATH PWD SHELL TERM TMPDIR USER LC_CTYPE'.split()) - \
         ({'LC_CTYPE'} - set(os.environ)) or print('ESCAPED', os.environ)",
    ),
    ("open files", "n = os.listdir('/proc/self/fd'); assert len(n) == 4 or print('ESCAPED', n)"),
    ("write programs", "opens('/usr/bin/moongate-probe', 'wb'); opens('/bin/moongate-probe', 'wb')"),
    ("write settings", "opens('/etc/passwd', 'ab'); opens('/etc/ld.so.preload', 'wb')"),
    ("write to the root", "opens('/moongate-probe', 'wb'); opens('/dev/moongate-probe', 'wb')"),
    ("a hook that is there", "opens('/workspace/.git/hooks/pre-commit', 'ab')"),
    ("a new hook", "opens('/workspace/.git/hooks/post-commit', 'wb')"),
    ("settings of git", "opens('/workspace/.git/config', 'ab')"),
    ("a missing protected file", "opens('/workspace/.mcp.json', 'wb'); opens('/workspace/.bashrc', 'wb')"),
    ("a missing protected folder", "opens('/workspace/.vscode/tasks.json', 'wb')"),
    (
        "take git's folder away",
        "try: os.rename('/workspace/.git', '/workspace/x'); print('ESCAPED')\nexcept OSError: pass",
    ),
    (
        "put something over a protected name",
        "open('/workspace/mine', 'w').close()\nfor to in ('.mcp.json', '.git/config'):\n  try: \
         os.rename('/workspace/mine', '/workspace/' + to); print('ESCAPED')\n  except OSError: pass",
    ),
    (
        "remove a protected name",
        "for name in ('.mcp.json', '.git/config', '.git/hooks/pre-commit'):\n  try: os.unlink('/workspace/' + name); \
         print('ESCAPED')\n  except OSError: pass",
    ),
    ("move the workspace", "try: os.rename('/workspace', '/y'); print('ESCAPED')\nexcept OSError: pass"),
    (
        "a second name for a file of the system",
        "try: os.link('/usr/bin/env', '/workspace/env'); print('ESCAPED')\nexcept OSError: pass",
    ),
    ("files by their handle", "refused('handle', -100, 0, 0); refused('name', -100, 0, 0, 0, 0)"),
    (
        "settings of the kernel",
        "[opens('/proc/sys/' + p, 'ab') for p in ('vm/swappiness', 'kernel/core_pattern', 'kernel/modprobe')]",
    ),
    ("keys of the kernel's console", "opens('/proc/sysrq-trigger', 'wb')"),
    (
        "make a device",
        "try: os.mknod('/workspace/dev', 0o60600, os.makedev(8, 0)); print('ESCAPED')\nexcept OSError: pass",
    ),
    ("mount", "refused('mount', b'/usr', b'/usr', 0, 4096 | 32, 0)"),
    ("unmount a protected name", "refused('umount', b'/workspace/.git/hooks', 2)"),
    ("the new ways to mount", "refused('open_tree', -100, b'/', 1); refused('fsopen', b'tmpfs', 0)"),
    ("another root", "refused('pivot', b'/tmp', b'/tmp'); assert os.geteuid() != 0 or print('ESCAPED')"),
    ("trace a process", "refused('ptrace', 16, 1, 0, 0)"),
    ("trace by the second set of numbers", "refused('x32', 16, 1, 0, 0)"),
    ("read another's memory", "refused('vm_readv', 1, 0, 0, 0, 0, 0)"),
    ("signal the gateway", "try: os.kill(GATEWAY, 0); print('ESCAPED')\nexcept OSError: pass"),
    ("take a file of another", "refused('pidfd_getfd', 3, 0, 0)"),
    ("a namespace of users", "refused('unshare', 0x10000000)"),
    (
        "namespaces by clone",
        "[refused('clone', flag | 17, 0, 0, 0, 0) for flag in (0x10000000, 0x20000, 0x40000000)]",
    ),
    ("clone that cannot be looked into", "refused('clone3', 0, 0)"),
    ("another's namespace", "refused('setns', 3, 0)"),
    (
        "programs of root",
        "s = open('/proc/self/status').read()\n\
         assert 'NoNewPrivs:\\t1' in s and 'CapBnd:\\t0000000000000000' in s or print('ESCAPED')",
    ),
    ("keys", "refused('keyctl', 0, -3, 0); refused('add_key', b'user', b'x', b'y', 1, -3)"),
    ("programs in the kernel", "refused('bpf', 0, 0, 0)"),
    ("counters", "refused('perf', 0, 0, -1, -1, 0)"),
    ("faults of pages", "refused('userfaultfd', 0)"),
    ("the ring", "refused('io_uring', 1, 0)"),
    ("another kernel", "refused('kexec', 0, 0, 0, 0); refused('reboot', 0, 0, 0, 0)"),
    (
        "type into the terminal",
        "import fcntl\nfor code in (0x5412, 0x541c):\n  try: fcntl.ioctl(0, code, b'x'); print('ESCAPED')\n  except \
         OSError as e: assert e.errno == 1 or print('ESCAPED', e)",
    ),
    (
        "the gateway's port",
        "try: socket.create_connection(('127.0.0.1', PORT), 1); print('ESCAPED')\nexcept OSError: pass",
    ),
    ("sockets of the machine", "family(socket.AF_UNIX); family(socket.AF_UNIX, socket.SOCK_DGRAM)"),
    ("packets as they are", "family(socket.AF_INET, socket.SOCK_RAW, 1); family(17, socket.SOCK_RAW)"),
    ("the kernel's network", "family(16, socket.SOCK_RAW); family(40); family(38, socket.SOCK_SEQPACKET)"),
    ("the cloud's metadata", "route(socket.AF_INET, ('169.254.169.254', 80))"),
    (
        "names",
        "route(socket.AF_INET, ('192.0.2.53', 53)); assert not os.path.exists('/etc/resolv.conf') or print('ESCAPED')",
    ),
    (
        "neighbours",
        "route(socket.AF_INET6, ('fe80::1', 80, 0, 2)); route(socket.AF_INET6, ('2001:db8::1', 80))",
    ),
    ("networks", "n = open('/proc/net/dev').read().count(':'); assert n == 1 or print('ESCAPED', n)"),
    (
        "sockets of services",
        "[print('ESCAPED', p) for p in ('/run', '/var/run/docker.sock', '/run/dbus', '/tmp/.X11-unix') if os.path.exists(p)]",
    ),
];

/// What is outside, for the probes to reach for.
struct Outside {
    folder: tempfile::TempDir,
    port: TcpListener,
    _socket: UnixListener,
}

impl Outside {
    fn new(workspace: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("canary"), "secret").unwrap();
        std::os::unix::fs::symlink(folder.path().join("canary"), workspace.join("link")).unwrap();
        fs::create_dir_all(workspace.join(".git/hooks")).unwrap();
        fs::write(workspace.join(".git/hooks/pre-commit"), "#!/bin/sh\n").unwrap();
        fs::write(workspace.join(".git/config"), "[core]\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        port.set_nonblocking(true).unwrap();
        let name = SocketAddr::from_abstract_name(format!("moongate-{}", process::id())).unwrap();
        Self { folder, port, _socket: UnixListener::bind_addr(&name).unwrap() }
    }

    fn fill_in(&self, probe: &str) -> String {
        let canary = self.folder.path().join("canary").display().to_string();
        probe
            .replace("CANARY", &canary)
            .replace("HOMEFOLDER", &std::env::var("HOME").unwrap())
            .replace("GATEWAY", &process::id().to_string())
            .replace("PORT", &self.port.local_addr().unwrap().port().to_string())
    }
}

#[tokio::test]
async fn no_probe_gets_out_of_the_sandbox() {
    assert!(PROBES.len() >= 50);
    let world = World::new().await;
    let outside = Outside::new(world.folder());
    let probes: Vec<_> = PROBES.iter().map(|(name, probe)| (name, outside.fill_in(probe))).collect();
    let probes = serde_json::to_string(&probes).unwrap();
    let argv = json!({"argv": ["/usr/bin/python3", "-I", "-c", format!("{COMMON}{EACH}"), probes]});
    assert_eq!(told(&world.call("shell", argv).await), format!("tried {}\n", PROBES.len()));
    assert!(outside.port.accept().is_err(), "nothing reached the gateway's port");
    assert_eq!(fs::read_to_string(outside.folder.path().join("canary")).unwrap(), "secret");
    assert_eq!(fs::read_to_string(world.folder().join(".git/config")).unwrap(), "[core]\n");
    assert_eq!(fs::read_dir(world.folder().join(".git/hooks")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(outside.folder.path()).unwrap().count(), 1);
    let names = ["/usr/bin/moongate-probe", "/moongate-probe", "/etc/ld.so.preload"];
    assert!(names.iter().all(|name| !Path::new(name).exists()));
}

#[test]
fn the_sandbox_works_here() {
    // Without it nothing of this file proves anything: bubblewrap has to be installed where the tests run.
    let found = Sandbox::find(SandboxChoice::Auto).unwrap_or_else(|why| panic!("{why}"));
    assert!(found.confines());
}
