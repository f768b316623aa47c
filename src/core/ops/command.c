/* Shell commands: see command.h.
 *
 * IDEA     A command is a process group of its own, so that all it starts can be ended with it. What a group costs is what the
 *          terminal does for one: the two halves below pay for it.
 * TERMINAL A group that is not the terminal's foreground group is stopped when it reads from there (ssh, sudo, gpg ask for
 *          passwords). As a shell does, we make it that group then, the last that wants it if there are several, and take the
 *          terminal back when it has ended. Meanwhile Ctrl-C goes to the command alone: when it has ended by that, we and all that
 *          the user sees as one job are sent it; so is Ctrl-Z. Nobody waits for another command's end: that may wait for this
 *          one to read what it writes.
 * GUARD    What ends this process at once (SIGKILL, SIGQUIT, _exit) does not end the groups, also when it was meant for all. A
 *          shell in a session of its own hears of each command that begins and ends, and ends those that are left when the pipe to it
 *          is closed, which nothing can prevent.
 * WHY NOT  the program's own group while that is in the foreground: a background job in the command has Ctrl-C ignored, and from
 *          anything but Ctrl-C only the shell could be ended, not what it has started. */
#include "core/ops/command.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/meter.h"

extern char **environ;

enum { PATIENCE_MS = 200 /* for a command that has been told to end */ };

/* Lines "+ GROUP" and "- GROUP" come in. */
static char guard_script[] =
    "trap '' HUP INT QUIT TERM\n"
    "groups=' '\n"
    "while read -r sign group; do\n"
    "  case $sign in\n"
    "  +) groups=\"$groups$group \" ;;\n"
    "  -) groups=\"${groups%% $group *} ${groups#* $group }\" ;;\n"
    "  esac\n"
    "done\n"
    "[ \"$groups\" = ' ' ] && exit\n"
    "for group in $groups; do kill -s TERM -- -$group; kill -s CONT -- -$group; done\n"
    "sleep 0.2\n"
    "for group in $groups; do kill -s KILL -- -$group; done\n";

static pthread_mutex_t terminal_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t
    terminal_holder; /* the command that has the terminal as far as we know, or 0; guarded by the lock */

/* ---- starting ---- */

/* Runs "sh -c text" with these as its standard descriptors; 0 or an errno value. */
static int start_shell(pid_t *pid, char *text, short flags, const int fds[3])
{
    char *arguments[] = {"sh", "-c", text, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE); /* the program ignores it; commands such as `head` rely on it */
    int failed = posix_spawnattr_init(&attributes);
    if (failed != 0)
        return failed;
    failed = posix_spawn_file_actions_init(&actions);
    if (failed != 0)
        goto fail_actions;
    failed = posix_spawnattr_setsigdefault(&attributes, &defaults);
    if (failed == 0)
        failed = posix_spawnattr_setflags(&attributes, (short)(POSIX_SPAWN_SETSIGDEF | flags));
    for (int i = 0; i < 3 && failed == 0; i++)
        if (fds[i] != STDERR_FILENO)
            failed = posix_spawn_file_actions_adddup2(&actions, fds[i], i);
    if (failed == 0)
        failed = posix_spawn(pid, "/bin/sh", &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
fail_actions:
    posix_spawnattr_destroy(&attributes);
    return failed;
}

int lb_guard_start(struct lb_guard *guard)
{
    int ends[2];
    *guard = (struct lb_guard){.fd = -1};
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    /* It must not hold open what others wait for the end of. */
    int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int failed = nothing < 0 ? errno : 0;
    if (failed == 0)
        failed = start_shell(&guard->pid, guard_script, POSIX_SPAWN_SETSID,
                             (int[]){ends[0], nothing, nothing});
    if (nothing >= 0)
        close(nothing);
    close(ends[0]);
    if (failed == 0)
        guard->fd = ends[1];
    else
        close(ends[1]);
    return failed;
}

void lb_guard_end(struct lb_guard *guard)
{
    if (guard->fd < 0)
        return;
    close(guard->fd);
    guard->fd = -1;
    while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static void tell_guard(const struct lb_guard *guard, char sign, pid_t group)
{
    char line[32];
    int size = snprintf(line, sizeof line, "%c %ld\n", sign, (long)group);
    (void)!write(guard->fd, line, (size_t)size); /* a pipe takes that as one */
}

int lb_command_start(struct lb_command *command, const struct lb_guard *guard, char *text, int in,
                     int out)
{
    pid_t pid;
    int failed = start_shell(&pid, text, POSIX_SPAWN_SETPGROUP, (int[]){in, out, STDERR_FILENO});
    if (failed != 0)
        return failed;
    *command = (struct lb_command){.pid = pid, .guard = guard};
    tell_guard(guard, '+', pid);
    return 0;
}

/* ---- the terminal ---- */

/* From the background as well, where it would stop us. */
static void set_foreground(int terminal, pid_t group)
{
    sigset_t stop, before;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &stop, &before);
    tcsetpgrp(terminal, group);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The command has ended, or must not have the terminal any longer. True: it had it. */
static bool take_terminal(pid_t pid)
{
    pthread_mutex_lock(&terminal_lock);
    bool had_it = terminal_holder == pid;
    if (had_it) {
        int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (terminal >= 0 && tcgetpgrp(terminal) == pid)
            set_foreground(terminal, getpgrp());
        if (terminal >= 0)
            close(terminal);
        terminal_holder = 0;
    }
    pthread_mutex_unlock(&terminal_lock);
    return had_it;
}

/* False: we have no terminal to give. */
static bool give_terminal(pid_t pid)
{
    pthread_mutex_lock(&terminal_lock);
    int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    pid_t group = terminal >= 0 ? tcgetpgrp(terminal) : -1;
    bool is_ours = group > 0 && (group == getpgrp() || group == terminal_holder);
    if (is_ours) {
        terminal_holder = pid;
        set_foreground(terminal, pid);
        kill(-pid, SIGCONT);
    }
    if (terminal >= 0)
        close(terminal);
    pthread_mutex_unlock(&terminal_lock);
    return is_ours;
}

lb_status lb_command_attend(struct lb_command *command, struct lb_error *err)
{
    siginfo_t info = {0};
    if (command->pid == 0 ||
        waitid(P_PID, (id_t)command->pid, &info, WSTOPPED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
        return LB_OK;
    if (info.si_status == SIGTSTP && take_terminal(command->pid)) {
        kill(0, SIGTSTP); /* Ctrl-Z: here we stop, too, with all that the user sees as one job */
        kill(-command->pid, SIGCONT);
    } else if ((info.si_status == SIGTTIN || info.si_status == SIGTTOU) &&
               !give_terminal(command->pid)) {
        return lb_error_set(err, LB_ERR_USER, "wants the terminal, but runs in the background");
    }
    return LB_OK;
}

/* ---- ending ---- */

static void forget(struct lb_command *command)
{
    tell_guard(command->guard, '-', command->pid);
    *command = (struct lb_command){0};
}

bool lb_command_has_ended(struct lb_command *command, int *status, bool *is_interrupted)
{
    pid_t ended;
    do
        ended = waitpid(command->pid, status, WNOHANG);
    while (ended < 0 && errno == EINTR);
    if (ended == 0)
        return false;
    bool had_terminal = take_terminal(command->pid);
    if (ended < 0)
        *status = -1;
    *is_interrupted =
        ended > 0 && had_terminal && WIFSIGNALED(*status) && WTERMSIG(*status) == SIGINT;
    forget(command);
    if (*is_interrupted)
        kill(0, SIGINT); /* what waits for us, such as a script, was meant, too */
    return true;
}

void lb_command_tell(struct lb_command *command)
{
    if (command->pid == 0 || command->told_ns != 0)
        return;
    kill(-command->pid, SIGTERM);
    kill(-command->pid, SIGCONT); /* what is stopped does not hear */
    command->told_ns = lb_clock_ns();
}

/* While others of its group live nobody else gets the number of a shell that is gone, and for long after: numbers are given out
 * in turn. */
void lb_command_end(struct lb_command *command)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    pid_t pid = command->pid;
    bool has_shell = true;
    if (pid == 0)
        return;
    lb_command_tell(command);
    for (;;) {
        if (has_shell && waitpid(pid, NULL, WNOHANG) == pid)
            has_shell = false;
        if (kill(-pid, 0) != 0 &&
            errno == ESRCH) /* EPERM: those left became another user's (sudo) */
            break;
        if (lb_clock_ns() - command->told_ns >= PATIENCE_MS * UINT64_C(1000000)) {
            bool is_killed = kill(-pid, SIGKILL) == 0;
            while (has_shell && is_killed && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                continue;
            break;
        }
        nanosleep(&pause, NULL);
    }
    take_terminal(pid);
    forget(command);
}
