/* pipe: the records of a morsel as lines through a shell command; the lines it writes are the new records.
 *
 * IDEA    One process per morsel ("sh -c command"). Input and output are moved by poll with non-blocking pipes, so neither
 *         side can block the other: while its input pipe is full, its output is read.
 * ERRORS  A command that ends with another status than 0 fails the job; one that stops reading early does not. When the run
 *         fails or is stopped, the command and what it has started are ended (command.c). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/jail.h"
#include "core/base/meter.h"
#include "core/base/sys.h"
#include "core/column/builder.h"
#include "core/io/format.h"
#include "core/io/text.h"
#include "core/ops/command.h"
#include "core/ops/ops.h"

enum {
    READ_BYTES = 64 << 10,
    ATTEND_MS = 100, /* so often a command that is waited for is looked after */
    PAUSE_NS = 10000000,
    HEARING_NS = 1000000000 /* as long as SIGINT may take to stop the run */
};

struct pipe_shared {
    char *text;
    struct lb_guard guard;
};

struct pipe_local {
    struct lb_command command;
    int in, out;         /* our ends: written to, read from; -1 closed */
    struct lb_buf input; /* formatted, not yet written */
    size_t written;
    struct lb_buf output; /* read, not yet cut into lines */
    struct lb_view views[LB_BATCH_ROWS];
};

static lb_status pipe_open(struct lb_op *self, struct lb_error *err)
{
    if (lb_jail_is_closed())
        return lb_error_set(err, LB_ERR_USAGE, "%s: no commands are run in safe mode (--safe)",
                            self->label);
    struct pipe_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    shared->guard.fd = -1;
    LB_TRY(lb_param_string(self, "command", &shared->text, err));
    if (shared->text == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has no command", self->label);
    int failed = lb_guard_start(&shared->guard);
    if (failed != 0)
        return lb_error_system(err, failed, "%s: cannot start sh", self->label);
    return LB_OK;
}

static void pipe_close(struct lb_op *self)
{
    struct pipe_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_guard_end(&shared->guard);
    lb_strfree(shared->text);
    lb_free(shared, sizeof *shared);
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

/* Ends what is no longer wanted. The pipes behind this one in the chain are not wanted either: all are told before one is waited for,
 * so that the time runs for all at once. */
static void abandon(struct lb_op_local *local)
{
    for (struct lb_op_local *other = local; other != NULL; other = other->next) {
        struct pipe_local *state = other->op->class == &lb_op_pipe ? other->state : NULL;
        if (state == NULL)
            continue;
        close_end(&state->in);
        close_end(&state->out);
        lb_command_tell(&state->command);
    }
    lb_command_end(&((struct pipe_local *)local->state)->command);
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

static lb_status spawn(struct lb_op_local *local, struct lb_error *err)
{
    struct pipe_local *state = local->state;
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    struct pipe_shared *shared = local->op->shared;
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        int failed = errno;
        close_end(&to[0]);
        close_end(&to[1]);
        return lb_error_system(err, failed, "%s: cannot make a pipe", local->op->label);
    }
    int failed = lb_command_start(&state->command, &shared->guard, shared->text, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    state->in = to[1];
    state->out = from[0];
    if (failed != 0)
        return lb_error_system(err, failed, "%s: cannot start sh", local->op->label);
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

/* While the command is waited for. */
static lb_status attend(struct lb_op_local *local, struct lb_error *err)
{
    struct pipe_local *state = local->state;
    struct pipe_shared *shared = local->op->shared;
    struct lb_error problem;
    if (lb_command_attend(&state->command, &problem) == LB_OK)
        return LB_OK;
    return lb_error_set(err, problem.status, "%s: command '%s' %s", local->op->label, shared->text,
                        problem.message);
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
        int n = poll(fds, 2, ATTEND_MS);
        if (n < 0 && errno != EINTR)
            return lb_error_system(err, errno, "%s: poll", local->op->label);
        if (n <= 0) {
            LB_TRY(attend(local, err));
            continue;
        }
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

/* Its output has ended; so has the command, mostly, or will in a moment. */
static lb_status wait_for_end(struct lb_op_local *local, int *status, bool *is_interrupted,
                              struct lb_error *err)
{
    struct pipe_local *state = local->state;
    struct timespec pause = {.tv_nsec = PAUSE_NS / 256};
    while (!lb_command_has_ended(&state->command, status, is_interrupted)) {
        if (atomic_load_explicit(&local->worker->run->stop, memory_order_relaxed) != 0)
            return lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
        LB_TRY(attend(local, err));
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < PAUSE_NS)
            pause.tv_nsec *= 2;
    }
    return LB_OK;
}

/* SIGINT is on its way to this process as well. The run that hears it is stopped by it; were it over before, the signal would come late,
 * and nobody would be told. */
static lb_status hear_interrupt(struct lb_op_local *local, struct lb_error *err)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS / 16};
    struct lb_run *run = local->worker->run;
    uint64_t start = lb_clock_ns();
    while (run->options.handle_signals && lb_clock_ns() - start < HEARING_NS &&
           atomic_load_explicit(&run->stop, memory_order_relaxed) == 0)
        nanosleep(&pause, NULL);
    return lb_error_set(err, LB_ERR_CANCELLED, "interrupted");
}

static lb_status pipe_end(struct lb_op_local *local, struct lb_error *err)
{
    struct pipe_local *state = local->state;
    close_end(&state->in);
    LB_TRY(move_bytes(local, true, err));
    LB_TRY(push_lines(local, true, err));
    int ended = 0;
    bool is_interrupted = false;
    LB_TRY(wait_for_end(local, &ended, &is_interrupted, err));
    if (is_interrupted)
        return hear_interrupt(local, err);
    const char *text = ((struct pipe_shared *)local->op->shared)->text;
    if (ended == -1)
        return lb_error_set(
            err, LB_ERR_USER,
            "%s: how command '%s' ended is not known: SIGCHLD is ignored, or somebody "
            "else has waited for it",
            local->op->label, text);
    if (WIFEXITED(ended) && WEXITSTATUS(ended) == 0)
        return LB_OK;
    return lb_error_set(err, LB_ERR_USER, "%s: command '%s' ended with %s %d", local->op->label,
                        text, WIFEXITED(ended) ? "status" : "signal",
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
