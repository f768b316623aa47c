/* Stages and workers, with operators made up here: every morsel runs once, calls come in the promised
 * order, the first error stops all, LB_ENOUGH ends a morsel. */
#include "../support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/sys.h"
#include "core/exec/run.h"
#include "core/io/output.h"

static struct lb_error error;

enum { N_MORSELS = 500 };

/* ---- a source of morsels of one row: the morsel's number ---- */

static _Atomic int next_morsel;
static _Atomic int n_open, n_close, n_attach, n_detach, n_combine, n_finish;
static _Atomic int seen[N_MORSELS];
static _Atomic int n_ended;
static int fail_at; /* morsel whose push fails; -1: none */
static int enough_at;

static lb_status count_open(struct lb_op *self, struct lb_error *err)
{
    (void)self;
    (void)err;
    n_open++;
    return LB_OK;
}

static void count_close(struct lb_op *self)
{
    (void)self;
    n_close++;
}

static lb_status count_attach(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    local->state = calloc(1, sizeof(int64_t));
    n_attach++;
    return LB_OK;
}

static void count_detach(struct lb_op_local *local)
{
    free(local->state);
    n_detach++;
}

static lb_status source_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    int morsel = next_morsel; /* not atomic as a whole: the stage's lock must make it so */
    usleep(morsel % 16 == 0 ? 50 : 0);
    *more = morsel < N_MORSELS;
    if (*more)
        next_morsel = morsel + 1;
    *(int64_t *)local->state = morsel;
    return LB_OK;
}

static lb_status source_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_column column = {.type = LB_INT64, .ints = local->state};
    struct lb_batch batch = {.n_rows = 1, .n_columns = 1, .n_selected = 1, .columns = &column};
    for (int i = 0; i < 3; i++)
        LB_TRY(lb_push(local->next, &batch, err));
    return LB_OK;
}

static lb_status sink_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    *(int64_t *)local->state = 0;
    return LB_OK;
}

static lb_status sink_push(struct lb_op_local *local, const struct lb_batch *batch,
                           struct lb_error *err)
{
    int64_t morsel = batch->columns[0].ints[0];
    assert_int_equal(morsel, local->worker->morsel);
    if (morsel == fail_at)
        return lb_error_set(err, LB_ERR_DATA, "morsel %d is bad", (int)morsel);
    ++*(int64_t *)local->state;
    seen[morsel]++;
    if (enough_at >= 0 && *(int64_t *)local->state >= 2)
        return lb_error_set(err, LB_ENOUGH, "enough");
    return LB_OK;
}

static lb_status sink_end(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    n_ended++;
    if (enough_at >= 0 && local->worker->morsel >= (uint64_t)enough_at)
        atomic_store(&local->op->enough, true);
    return LB_OK;
}

static lb_status sink_combine(struct lb_op_local *local, struct lb_error *err)
{
    (void)local;
    (void)err;
    n_combine++;
    return LB_OK;
}

static lb_status sink_finish(struct lb_op *self, struct lb_error *err)
{
    (void)self;
    (void)err;
    n_finish++;
    return LB_OK;
}

static const struct lb_op_class source_class = {.name = "test.source",
                                                .kind = LB_OP_SOURCE,
                                                .open = count_open,
                                                .attach = count_attach,
                                                .claim = source_claim,
                                                .produce = source_produce,
                                                .detach = count_detach,
                                                .close = count_close};
static const struct lb_op_class sink_class = {.name = "test.sink",
                                              .kind = LB_OP_SINK,
                                              .open = count_open,
                                              .attach = count_attach,
                                              .begin = sink_begin,
                                              .push = sink_push,
                                              .end = sink_end,
                                              .combine = sink_combine,
                                              .detach = count_detach,
                                              .finish = sink_finish,
                                              .close = count_close};

static lb_status run_once(uint32_t n_threads)
{
    struct lb_op source = {.class = &source_class, .label = "source"};
    struct lb_op sink = {.class = &sink_class, .label = "sink"};
    struct lb_op *ops[] = {&source};
    struct lb_leg leg = {.ops = ops, .n_ops = 1};
    struct lb_stage stage = {.legs = &leg, .n_legs = 1, .sink = &sink};
    struct lb_run_options options = {
        .n_threads = n_threads, .memory_bytes = 1 << 20, .tmp_dir = "/tmp"};
    struct lb_run *run = NULL;
    next_morsel = n_open = n_close = n_attach = n_detach = n_combine = n_finish = n_ended = 0;
    for (int i = 0; i < N_MORSELS; i++)
        seen[i] = 0;
    assert_int_equal(lb_run_new(&options, &run, &error), LB_OK);
    lb_status status = lb_run_stage(run, &stage, &error);
    lb_op_close(&sink);
    lb_op_close(&sink); /* harmless twice */
    lb_run_delete(run);
    assert_int_equal(n_open, 2);
    assert_int_equal(n_close, 2);
    assert_int_equal(n_attach, n_detach);
    return status;
}

static void every_morsel_runs_once(void **state)
{
    (void)state;
    fail_at = enough_at = -1;
    for (uint32_t threads = 1; threads <= 8; threads++) {
        assert_int_equal(run_once(threads), LB_OK);
        for (int i = 0; i < N_MORSELS; i++)
            assert_int_equal(seen[i], 3);
        assert_int_equal(n_ended, N_MORSELS);
        assert_in_range(n_combine, 1, threads);
        assert_int_equal(n_finish, 1);
    }
}

static void first_error_stops_all(void **state)
{
    (void)state;
    enough_at = -1;
    random_start("first_error_stops_all");
    for (uint32_t threads = 1; threads <= 8; threads++) {
        char expected[64];
        fail_at = (int)random_below(N_MORSELS);
        snprintf(expected, sizeof expected, "morsel %d is bad", fail_at);
        assert_int_equal(run_once(threads), LB_ERR_DATA);
        assert_string_equal(error.message, expected);
        assert_int_equal(n_finish, 0);
        assert_true(n_ended < N_MORSELS);
        for (int i = 0; i < fail_at; i++) /* an earlier one might have failed as well */
            assert_int_equal(seen[i], 3);
    }
}

static void enough_ends_morsel_and_stage(void **state)
{
    (void)state;
    fail_at = -1;
    enough_at = 10;
    for (uint32_t threads = 1; threads <= 4; threads++) {
        assert_int_equal(run_once(threads), LB_OK);
        for (int i = 0; i <= enough_at; i++)
            assert_int_equal(seen[i], 2);
        assert_in_range(n_ended, enough_at + 1, enough_at + (int)threads);
        assert_int_equal(n_finish, 1);
    }
}

/* ---- signals while a sink publishes ---- */

static _Atomic bool is_heard, is_given_up;
static bool ends_when_heard; /* else when the run was given up */
static volatile sig_atomic_t n_raised;
static bool fails, is_transient;

static void on_raised(int number)
{
    (void)number;
    n_raised++;
}

static lb_status slow_publish(struct lb_op *self, struct lb_error *err)
{
    (void)err;
    kill(getpid(), SIGTERM);
    uint64_t start = lb_clock_ns();
    while (lb_clock_ns() - start < 20000000000u) {
        is_heard |= atomic_load(&self->run->stop) != 0;
        if (ends_when_heard ? is_heard : is_given_up)
            break;
        usleep(1000);
    }
    if (!fails)
        return LB_OK;
    lb_error_set(err, LB_ERR_RESOURCE, "the disk is full");
    err->is_transient = is_transient;
    return LB_ERR_RESOURCE;
}

static void note_given_up(void *state, const struct lb_error *err)
{
    assert_ptr_equal(state, &is_given_up);
    assert_int_equal(err->status, LB_ERR_TERMINATED);
    is_given_up = true;
}

static struct lb_stage publishing_stage(struct lb_leg *leg, struct lb_op *sink,
                                        lb_status (*publish)(struct lb_op *self,
                                                             struct lb_error *err))
{
    static struct lb_op_class class;
    class = sink_class;
    class.publish = publish;
    *sink = (struct lb_op){.class = &class, .label = "sink"};
    next_morsel = 0;
    return (struct lb_stage){.legs = leg, .n_legs = 1, .sink = sink};
}

/* None of the earlier stage's output is taken back, and the signal is raised again; but what comes after it does not begin. */
static void signals_are_heard_while_a_sink_publishes(void **state)
{
    (void)state;
    fail_at = enough_at = -1;
    struct sigaction count = {.sa_handler = on_raised}, before;
    sigaction(SIGTERM, &count, &before);
    for (int pass = 0; pass < 3; pass++) {
        struct lb_op source = {.class = &source_class, .label = "source"}, sink, next_sink;
        struct lb_op *ops[] = {&source};
        struct lb_leg leg = {.ops = ops, .n_ops = 1};
        struct lb_stage stage = publishing_stage(&leg, &sink, slow_publish);
        struct lb_run_options options = {
            .n_threads = 2,
            .memory_bytes = 1 << 20,
            .tmp_dir = "/tmp",
            .handle_signals = true,
            .host = {.give_up = note_given_up, .give_up_state = &is_given_up}};
        struct lb_run *run = NULL;
        is_heard = is_given_up = false;
        ends_when_heard = pass != 1;
        n_raised = 0;
        assert_int_equal(lb_run_new(&options, &run, &error), LB_OK);
        uint64_t start = lb_clock_ns();
        assert_int_equal(lb_run_stage(run, &stage, &error), LB_OK);
        assert_true(lb_clock_ns() - start < 10000000000u);
        assert_true(is_heard);
        assert_int_equal(is_given_up, pass == 1);
        lb_op_close(&sink);
        if (pass == 2) {
            struct lb_stage next = publishing_stage(&leg, &next_sink, slow_publish);
            assert_int_equal(lb_run_stage(run, &next, &error), LB_ERR_TERMINATED);
            lb_op_close(&next_sink);
        }
        lb_run_delete(run);
        assert_int_equal(n_raised, pass < 2);
    }
    sigaction(SIGTERM, &before, NULL);
}

/* The failure is told, with the signal's status, which does not come later in place of that; but no other attempt is made after it. */
static void signals_do_not_hide_that_publishing_failed(void **state)
{
    (void)state;
    fail_at = enough_at = -1;
    struct sigaction count = {.sa_handler = on_raised}, before;
    sigaction(SIGTERM, &count, &before);
    fails = ends_when_heard = true;
    for (int pass = 0; pass < 2; pass++) {
        struct lb_op source = {.class = &source_class, .label = "source"}, sink;
        struct lb_op *ops[] = {&source};
        struct lb_leg leg = {.ops = ops, .n_ops = 1};
        struct lb_stage stage = publishing_stage(&leg, &sink, slow_publish);
        struct lb_run_options options = {
            .n_threads = 2, .memory_bytes = 1 << 20, .tmp_dir = "/tmp", .handle_signals = true};
        struct lb_run *run = NULL;
        is_heard = false;
        n_raised = 0;
        is_transient = pass == 1;
        assert_int_equal(lb_run_new(&options, &run, &error), LB_OK);
        assert_int_equal(lb_run_stage(run, &stage, &error), LB_ERR_TERMINATED);
        assert_string_equal(error.message, is_transient ? "interrupted" : "the disk is full");
        assert_true(is_heard);
        lb_op_close(&sink);
        lb_run_delete(run);
        assert_int_equal(n_raised, 0);
    }
    fails = false;
    sigaction(SIGTERM, &before, NULL);
}

static int open_without_nameless(const char *path, int flags, mode_t mode)
{
    if ((flags & O_TMPFILE) != O_TMPFILE)
        return open(path, flags, mode);
    errno = EOPNOTSUPP;
    return -1;
}

static lb_status endless_publish(struct lb_op *self, struct lb_error *err)
{
    (void)self;
    struct lb_output *output;
    if (lb_output_new("file", LB_MODE_ERROR, NULL, &output, err) != LB_OK ||
        lb_output_write(output, "x", 1, err) != LB_OK || system("test -e .file*") != 0)
        _exit(9);
    for (;;) {
        kill(getpid(), SIGINT);
        usleep(700000); /* two of them at once are one */
    }
}

/* The second SIGINT ends the process at once, and nothing is left all the same. */
static void second_interrupt_leaves_nothing(void **state)
{
    (void)state;
    fail_at = enough_at = -1;
    char folder[] = "/tmp/luabatch-test-XXXXXX";
    assert_non_null(mkdtemp(folder));
    pid_t child = fork();
    if (child == 0) {
        alarm(30);
        if (chdir(folder) != 0)
            _exit(8);
        lb_sys.open = open_without_nameless;
        struct lb_op source = {.class = &source_class, .label = "source"}, sink;
        struct lb_op *ops[] = {&source};
        struct lb_leg leg = {.ops = ops, .n_ops = 1};
        struct lb_stage stage = publishing_stage(&leg, &sink, endless_publish);
        struct lb_run_options options = {
            .n_threads = 1, .memory_bytes = 1 << 20, .tmp_dir = "/tmp", .handle_signals = true};
        struct lb_run *run = NULL;
        if (lb_run_new(&options, &run, &error) == LB_OK)
            (void)!lb_run_stage(run, &stage, &error);
        _exit(7);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_int_equal(rmdir(folder), 0); /* it is empty */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_morsel_runs_once),
        cmocka_unit_test(first_error_stops_all),
        cmocka_unit_test(enough_ends_morsel_and_stage),
        cmocka_unit_test(signals_are_heard_while_a_sink_publishes),
        cmocka_unit_test(signals_do_not_hide_that_publishing_failed),
        cmocka_unit_test(second_interrupt_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
