/* pipe: the records of a morsel as lines through a shell command; the lines it writes are the new records.
 *
 * IDEA    One process per morsel ("sh -c command"). Input and output are moved by poll with non-blocking pipes, so neither
 *         side can block the other: while its input pipe is full, its output is read.
 * ERRORS  A command that ends with another status than 0 fails the job; one that stops reading early does not. When the run
 *         fails or is stopped, the command and what it has started are ended. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/jail.h"
#include "core/base/sys.h"
#include "core/column/builder.h"
#include "core/io/format.h"
#include "core/io/text.h"
#include "core/ops/ops.h"

extern char **environ;

enum {
    READ_BYTES = 64 << 10,
    PATIENCE_MS = 200 /* for a command that has been told to end */
};

struct pipe_local {
    pid_t pid;           /* 0: none runs */
    uint64_t told_ns;    /* when it was told to end; 0: it was not */
    int in, out;         /* our ends: written to, read from; -1 closed */
    struct lb_buf input; /* formatted, not yet written */
    size_t written;
    struct lb_buf output; /* read, not yet cut into lines */
    struct lb_view views[LB_BATCH_ROWS];
};

static lb_status pipe_open(struct lb_op *self, struct lb_error *err)
{
    char *command = NULL;
    LB_TRY(lb_param_string(self, "command", &command, err));
    if (command == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has no command", self->label);
    self->shared = command;
    return LB_OK;
}

static void pipe_close(struct lb_op *self)
{
    lb_strfree(self->shared);
    self->shared = NULL;
}

static lb_status pipe_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct pipe_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    state->in = state->out = -1;
    return LB_OK;
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Waits until the shell and all that it has started have ended, but no longer than PATIENCE_MS after they were told to. While others
 * of its group live nobody else gets the number of a shell that is gone, and for long after: numbers are given out in turn. */
static void wait_for_group(const struct pipe_local *state)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    pid_t pid = state->pid;
    bool has_shell = true;
    for (;;) {
        if (has_shell && waitpid(pid, NULL, WNOHANG) == pid)
            has_shell = false;
        if (kill(-pid, 0) != 0)
            return;
        if (lb_clock_ns() - state->told_ns >= PATIENCE_MS * UINT64_C(1000000))
            break;
        nanosleep(&pause, NULL);
    }
    kill(-pid, SIGKILL);
    while (has_shell && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static void tell_to_end(struct pipe_local *state)
{
    close_end(&state->in);
    close_end(&state->out);
    if (state->pid > 0 && state->told_ns == 0) {
        kill(-state->pid, SIGTERM);
        state->told_ns = lb_clock_ns();
    }
}

/* Ends what is no longer wanted: the shell and what it has started, which are a group of their own. The pipes behind this one in
 * the chain are not wanted either: all are told before one is waited for, so that the time runs for all at once. */
static void abandon(struct lb_op_local *local)
{
    struct pipe_local *state = local->state;
    for (struct lb_op_local *other = local; other != NULL; other = other->next)
        if (other->op->class == &lb_op_pipe && other->state != NULL)
            tell_to_end(other->state);
    if (state->pid > 0)
        wait_for_group(state);
    state->pid = 0;
    state->told_ns = 0;
}

static void pipe_detach(struct lb_op_local *local)
{
    struct pipe_local *state = local->state;
    if (state == NULL)
        return;
    abandon(local);
    lb_buf_fini(&state->input);
    lb_buf_fini(&state->output);
    lb_free(state, sizeof *state);
}

/* Starts the command with these as its standard input and output; 0 or an errno value. */
static int start_shell(pid_t *pid, char *command, int in, int out)
{
    char *arguments[] = {"sh", "-c", command, NULL};
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
        failed =
            posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(&actions, in, 0);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(&actions, out, 1);
    if (failed == 0)
        failed = posix_spawn(pid, "/bin/sh", &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
fail_actions:
    posix_spawnattr_destroy(&attributes);
    return failed;
}

static lb_status spawn(struct lb_op_local *local, struct lb_error *err)
{
    struct pipe_local *state = local->state;
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    if (lb_jail_is_closed())
        return lb_error_set(err, LB_ERR_USAGE, "%s: no commands are run in safe mode (--safe)",
                            local->op->label);
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        int failed = errno;
        close_end(&to[0]);
        close_end(&to[1]);
        return lb_error_system(err, failed, "%s: cannot make a pipe", local->op->label);
    }
    int failed = start_shell(&state->pid, local->op->shared, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    state->in = to[1];
    state->out = from[0];
    if (failed != 0) {
        state->pid = 0;
        return lb_error_system(err, failed, "%s: cannot start sh", local->op->label);
    }
    fcntl(state->in, F_SETFL, O_NONBLOCK);
    fcntl(state->out, F_SETFL, O_NONBLOCK);
    return LB_OK;
}

static lb_status pipe_begin(struct lb_op_local *local, struct lb_error *err)
{
    struct pipe_local *state = local->state;
    abandon(local); /* left by a morsel that was cut short */
    state->input.size = state->output.size = state->written = 0;
    return spawn(local, err);
}

/* Pushes the whole lines of the output; at_end also the rest. */
static lb_status push_lines(struct lb_op_local *local, bool at_end, struct lb_error *err)
{
    struct pipe_local *state = local->state;
    if (state->output.size == 0)
        return LB_OK;
    LB_TRY(lb_buf_reserve(&state->output, LB_TEXT_PADDING, err));
    const char *cursor = state->output.data;
    const char *end = cursor + state->output.size;
    for (;;) {
        size_t n = lb_text_lines(&cursor, end, at_end, state->views, LB_BATCH_ROWS);
        if (n == 0)
            break;
        struct lb_column column = {.type = LB_STRING, .views = state->views};
        struct lb_batch batch = {
            .n_rows = (uint32_t)n, .n_columns = 1, .n_selected = (uint32_t)n, .columns = &column};
        LB_TRY(lb_push(local->next, &batch, err));
    }
    size_t used = (size_t)(cursor - state->output.data);
    memmove(state->output.data, cursor, state->output.size - used);
    state->output.size -= used;
    return LB_OK;
}

static lb_status read_output(struct lb_op_local *local, struct lb_error *err)
{
    struct pipe_local *state = local->state;
    LB_TRY(lb_buf_reserve(&state->output, READ_BYTES + LB_TEXT_PADDING, err));
    ssize_t got = lb_sys.read(state->out, state->output.data + state->output.size, READ_BYTES);
    if (got < 0 && errno != EAGAIN && errno != EINTR)
        return lb_error_system(err, errno, "%s: cannot read", local->op->label);
    if (got == 0)
        close_end(&state->out);
    if (got > 0) {
        state->output.size += (size_t)got;
        return push_lines(local, false, err);
    }
    return LB_OK;
}

static lb_status write_input(struct lb_op_local *local, struct lb_error *err)
{
    struct pipe_local *state = local->state;
    ssize_t put = lb_sys.write(state->in, state->input.data + state->written,
                               state->input.size - state->written);
    if (put >= 0) {
        state->written += (size_t)put;
    } else if (errno == EPIPE) { /* it wants no more */
        close_end(&state->in);
    } else if (errno != EAGAIN && errno != EINTR) {
        return lb_error_system(err, errno, "%s: cannot write", local->op->label);
    }
    if (state->written == state->input.size)
        state->input.size = state->written = 0;
    return LB_OK;
}

/* Moves bytes both ways until all input is written, or when `drain`, until the output has ended. */
static lb_status move_bytes(struct lb_op_local *local, bool drain, struct lb_error *err)
{
    struct pipe_local *state = local->state;
    while ((state->in >= 0 && state->input.size > 0) || (drain && state->out >= 0)) {
        if (atomic_load_explicit(&local->worker->run->stop, memory_order_relaxed) != 0)
            return lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
        bool wants_write = state->in >= 0 && state->input.size > 0;
        struct pollfd fds[2] = {{.fd = state->out, .events = POLLIN},
                                {.fd = wants_write ? state->in : -1, .events = POLLOUT}};
        if (poll(fds, 2, 100) < 0 && errno != EINTR)
            return lb_error_system(err, errno, "%s: poll", local->op->label);
        if (fds[1].revents != 0)
            LB_TRY(write_input(local, err));
        if (fds[0].revents != 0)
            LB_TRY(read_output(local, err));
    }
    return LB_OK;
}

static lb_status pipe_push(struct lb_op_local *local, const struct lb_batch *batch,
                           struct lb_error *err)
{
    struct pipe_local *state = local->state;
    if (state->in < 0)
        return LB_OK;
    LB_TRY(lb_format_batch(LB_FORMAT_TEXT, batch, &state->input, err));
    return move_bytes(local, false, err);
}

static lb_status pipe_end(struct lb_op_local *local, struct lb_error *err)
{
    struct pipe_local *state = local->state;
    close_end(&state->in);
    LB_TRY(move_bytes(local, true, err));
    LB_TRY(push_lines(local, true, err));
    int ended = 0;
    while (waitpid(state->pid, &ended, 0) < 0 && errno == EINTR)
        continue;
    state->pid = 0;
    if (WIFEXITED(ended) && WEXITSTATUS(ended) == 0)
        return LB_OK;
    return lb_error_set(err, LB_ERR_USER, "%s: command '%s' ended with %s %d", local->op->label,
                        (const char *)local->op->shared, WIFEXITED(ended) ? "status" : "signal",
                        WIFEXITED(ended) ? WEXITSTATUS(ended) : WTERMSIG(ended));
}

const struct lb_op_class lb_op_pipe = {
    .name = "pipe",
    .kind = LB_OP_TRANSFORM,
    .open = pipe_open,
    .attach = pipe_attach,
    .begin = pipe_begin,
    .push = pipe_push,
    .end = pipe_end,
    .detach = pipe_detach,
    .close = pipe_close,
};
