/* Landlock and seccomp, by their bare system calls: neither has a function in the C library.
 *
 * IDEA   The wall of safe mode proper is jail.c and what lua_bindings/safe.c leaves of Lua. Should one of these, or Lua itself, have
 *        a hole, then code inside the process still finds no program to start, no network and no other file.
 * WHY NOT a list of the system calls that are needed, instead of one of those that are refused: libraries (libc's allocator, libuv,
 *        zstd) choose theirs by version; a list that is short of one fails in the field. */
#include "core/base/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/jail.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITISED = 1 };
#else
enum { IS_SANITISED = 0 };
#endif

static bool has_landlock, has_seccomp;

/* ---- Landlock ---- */

/* Rights by the version of the interface that brought them; the headers may be older than the kernel. */
enum {
    FILE_READ = LANDLOCK_ACCESS_FS_READ_FILE,
    FILE_WRITE = LANDLOCK_ACCESS_FS_WRITE_FILE,
    FIRST_VERSION = (1 << 13) - 1,
    REFER = 1 << 13,    /* 2 */
    TRUNCATE = 1 << 14, /* 3 */
    DEVICES = 1 << 15   /* 5 */
};

struct rules {
    int fd;
    uint64_t handled;
    bool has_failed;
};

static void allow(struct rules *rules, const char *path, uint64_t rights)
{
    struct stat info;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return; /* does not exist: nothing to allow */
    if (fstat(fd, &info) != 0 || !S_ISDIR(info.st_mode))
        rights &= FILE_READ | FILE_WRITE | TRUNCATE;
    struct landlock_path_beneath_attr rule = {.allowed_access = rights & rules->handled,
                                              .parent_fd = fd};
    if (syscall(SYS_landlock_add_rule, rules->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
        rules->has_failed = true;
    close(fd);
}

static void allow_entry(void *state, enum lb_jail_right right, const char *path)
{
    struct rules *rules = state;
    char parent[PATH_MAX];
    uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    uint64_t making = reading | FILE_WRITE | LANDLOCK_ACCESS_FS_MAKE_REG |
                      LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                      LANDLOCK_ACCESS_FS_REMOVE_DIR | REFER | TRUNCATE;
    switch (right) {
    case LB_JAIL_READ:
        allow(rules, path, reading);
        break;
    case LB_JAIL_LIST:
        allow(rules, path, LANDLOCK_ACCESS_FS_READ_DIR);
        break;
    case LB_JAIL_TMP:
        allow(rules, path, making);
        break;
    case LB_JAIL_WRITE: /* outputs appear by a name beside them, which Landlock cannot tell from others */
        strcpy(parent, path);
        *strrchr(parent, '/') = '\0';
        allow(rules, parent[0] != '\0' ? parent : "/", making);
        break;
    }
}

static lb_status use_landlock(struct lb_error *err)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return LB_OK;
    struct landlock_ruleset_attr attributes = {.handled_access_fs = FIRST_VERSION};
    if (version >= 2)
        attributes.handled_access_fs |= REFER;
    if (version >= 3)
        attributes.handled_access_fs |= TRUNCATE;
    if (version >= 5)
        attributes.handled_access_fs |= DEVICES;
    struct rules rules = {.handled = attributes.handled_access_fs};
    rules.fd = (int)syscall(SYS_landlock_create_ruleset, &attributes,
                            sizeof attributes.handled_access_fs, 0);
    if (rules.fd < 0)
        return lb_error_system(err, errno, "cannot begin safe mode (landlock)");
    lb_jail_visit(allow_entry, &rules);
    allow(&rules, "/dev/null", FILE_READ | FILE_WRITE);
    if (rules.has_failed || syscall(SYS_landlock_restrict_self, rules.fd, 0) != 0) {
        lb_status status = lb_error_system(err, errno, "cannot begin safe mode (landlock)");
        close(rules.fd);
        return status;
    }
    close(rules.fd);
    has_landlock = true;
    return LB_OK;
}

/* ---- seccomp ---- */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define DENY RETURN(SECCOMP_RET_ERRNO | EPERM)
#define IF_NOT(number, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, skip)
#define REFUSE(name) IF_NOT(SYS_##name, 1), DENY

static lb_status use_seccomp(struct lb_error *err)
{
    struct sock_filter filter[] = {
        LOAD(arch),
        IF_NOT(ARCHITECTURE, 1),
        BPF_STMT(BPF_JMP | BPF_JA, 1),
        RETURN(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1), /* the x32 calls */
        DENY,
        /* programs and processes: a new thread is fine */
        REFUSE(execve),
        REFUSE(execveat),
        IF_NOT(SYS_clone3, 1), /* its flags cannot be seen; the C library falls back to clone */
        RETURN(SECCOMP_RET_ERRNO | ENOSYS),
        IF_NOT(SYS_clone, 4),
        LOAD(args[0]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1),
        RETURN(SECCOMP_RET_ALLOW),
        DENY,
#ifdef SYS_fork
        REFUSE(fork),
        REFUSE(vfork),
#endif
        REFUSE(kill),
        REFUSE(ptrace),
        REFUSE(process_vm_readv),
        REFUSE(process_vm_writev),
        REFUSE(pidfd_open),
        REFUSE(pidfd_getfd),
        /* the network, and what reaches other processes */
        REFUSE(socket),
        REFUSE(socketpair),
        REFUSE(connect),
        REFUSE(bind),
        REFUSE(shmget),
        REFUSE(msgget),
        REFUSE(mq_open),
        /* the system */
        REFUSE(mount),
        REFUSE(umount2),
        REFUSE(chroot),
        REFUSE(pivot_root),
        REFUSE(unshare),
        REFUSE(setns),
        REFUSE(bpf),
        REFUSE(perf_event_open),
        REFUSE(userfaultfd),
        REFUSE(io_uring_setup),
        REFUSE(keyctl),
        REFUSE(add_key),
        REFUSE(request_key),
        REFUSE(init_module),
        REFUSE(finit_module),
        REFUSE(kexec_load),
        REFUSE(reboot),
        REFUSE(open_by_handle_at),
        REFUSE(memfd_create),
        REFUSE(symlinkat),
        REFUSE(fchmodat),
        REFUSE(fchownat),
        RETURN(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0) {
        has_seccomp = true;
        return LB_OK;
    }
    if (errno == EINVAL || errno == ENOSYS) /* a kernel without it */
        return LB_OK;
    return lb_error_system(err, errno, "cannot begin safe mode (seccomp)");
}

#else

static lb_status use_seccomp(struct lb_error *err)
{
    (void)err;
    return LB_OK;
}

#endif

lb_status lb_confine(struct lb_error *err)
{
    if (IS_SANITISED)
        return LB_OK;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return lb_error_system(err, errno, "cannot begin safe mode");
    LB_TRY(use_landlock(err));
    return use_seccomp(err);
}

const char *lb_confine_means(void)
{
    if (has_landlock)
        return has_seccomp ? "landlock, seccomp" : "landlock";
    return has_seccomp ? "seccomp" : "";
}
