/* What a run tells while it runs, and its trace: operators made up here, which wait until the host was told. */
#include "../support/support.h"

#include <unistd.h>

#include "core/column/codec.h"
#include "core/exec/run.h"

static struct lb_error error;

enum { N_MORSELS = 4, MORSEL_BYTES = 1000 };

/* Sources of four morsels of one row, which have sizes. One claims under the lock until somebody was told. */
struct source {
    int next;
    bool is_bytes, is_known, waits_in_claim;
};

static _Atomic int n_told;
static struct lb_progress told; /* last */

static lb_status source_attach(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    local->state = calloc(1, sizeof(int64_t));
    return LB_OK;
}

static void source_detach(struct lb_op_local *local)
{
    free(local->state);
}

static void wait_until_told(void)
{
    int before = n_told;
    for (int i = 0; i < 3000 && n_told == before; i++)
        usleep(1000);
}

static lb_status source_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct source *source = local->op->shared;
    *more = source->next < N_MORSELS;
    if (!*more)
        return LB_OK;
    *(int64_t *)local->state = source->next++;
    if (source->is_bytes)
        local->op->n_bytes += MORSEL_BYTES;
    if (source->waits_in_claim && source->next == 2)
        wait_until_told();
    return LB_OK;
}

static lb_status source_produce(struct lb_op_local *local, struct lb_error *err)
{
    const struct source *source = local->op->shared;
    struct lb_column column = {.type = LB_INT64, .ints = local->state};
    struct lb_batch batch = {.n_rows = 1, .n_columns = 1, .n_selected = 1, .columns = &column};
    /* Told with all morsels claimed. */
    if (!source->waits_in_claim && *(int64_t *)local->state == N_MORSELS - 1)
        wait_until_told();
    return lb_push(local->next, &batch, err);
}

static bool source_progress(const struct lb_op *self, struct lb_progress *progress)
{
    const struct source *source = self->shared;
    progress->is_bytes = source->is_bytes;
    progress->done = source->is_bytes ? (uint64_t)self->n_bytes : (uint64_t)source->next;
    progress->total = source->is_bytes ? N_MORSELS * MORSEL_BYTES : N_MORSELS;
    return source->is_known;
}

static lb_status sink_push(struct lb_op_local *local, const struct lb_batch *batch,
                           struct lb_error *err)
{
    (void)local;
    (void)batch;
    (void)err;
    return LB_OK;
}

static const struct lb_op_class source_class = {.name = "test.source",
                                                .kind = LB_OP_SOURCE,
                                                .attach = source_attach,
                                                .claim = source_claim,
                                                .progress = source_progress,
                                                .produce = source_produce,
                                                .detach = source_detach};
static const struct lb_op_class sink_class = {
    .name = "test.sink", .kind = LB_OP_SINK, .push = sink_push};

static void tell(void *state, const struct lb_progress *progress)
{
    (void)state;
    told = *progress;
    n_told++;
}

/* Runs a stage with these legs, one of which may depend on a sink that never overflowed. */
static void run_legs(struct source *sources, uint32_t n, bool with_idle, struct lb_buf *trace)
{
    struct lb_op ops[3] = {0};
    struct lb_op *sources_of[3] = {&ops[0], &ops[1], &ops[2]};
    struct lb_op sink = {.class = &sink_class, .label = "sink"}, earlier = {0};
    struct lb_condition condition = {.sink = &earlier, .overflowed = true};
    struct lb_leg legs[3];
    for (uint32_t i = 0; i < n; i++) {
        ops[i] = (struct lb_op){.class = &source_class, .label = "source", .shared = &sources[i]};
        legs[i] = (struct lb_leg){.ops = &sources_of[i], .n_ops = 1};
    }
    if (with_idle) { /* its source has nothing that could be looked at */
        ops[n - 1].shared = NULL;
        legs[n - 1].conditions = &condition;
        legs[n - 1].n_conditions = 1;
    }
    struct lb_stage stage = {.legs = legs, .n_legs = n, .sink = &sink};
    struct lb_run_options options = {.n_threads = 1,
                                     .memory_bytes = 1 << 20,
                                     .tmp_dir = "/tmp",
                                     .is_traced = trace != NULL,
                                     .host = {.progress = tell}};
    struct lb_run *run = NULL;
    told = (struct lb_progress){0};
    assert_int_equal(lb_run_new(&options, &run, &error), LB_OK);
    run->stage = run->n_stages = 1;
    assert_int_equal(lb_run_stage(run, &stage, &error), LB_OK);
    if (trace != NULL)
        assert_int_equal(lb_run_trace(run, trace, &error), LB_OK);
    lb_op_close(&sink);
    lb_run_delete(run);
}

static void unlike_inputs_are_not_added(void **state)
{
    (void)state;
    struct source bytes = {.is_bytes = true, .is_known = true}, pieces = {.is_known = true};
    run_legs(&bytes, 1, false, NULL);
    assert_int_equal(told.done, N_MORSELS * MORSEL_BYTES);
    assert_int_equal(told.total, N_MORSELS * MORSEL_BYTES);
    assert_true(told.is_bytes);
    assert_string_equal(told.label, "sink");

    struct source alike[] = {pieces, pieces};
    run_legs(alike, 2, false, NULL);
    assert_int_equal(told.done, 2 * N_MORSELS);
    assert_int_equal(told.total, 2 * N_MORSELS);
    assert_false(told.is_bytes);

    bytes.next = 0;
    struct source both[] = {pieces, bytes};
    run_legs(both, 2, false, NULL);
    assert_int_equal(told.done, N_MORSELS * MORSEL_BYTES);
    assert_int_equal(told.total, 0);
    assert_true(told.is_bytes);

    struct source unknown[] = {{.is_bytes = true}, bytes};
    run_legs(unknown, 2, false, NULL);
    assert_int_equal(told.done, 2 * N_MORSELS * MORSEL_BYTES);
    assert_int_equal(told.total, 0);

    struct source idle[] = {bytes, pieces};
    run_legs(idle, 2, true, NULL);
    assert_int_equal(told.done, N_MORSELS * MORSEL_BYTES);
    assert_int_equal(told.total, N_MORSELS * MORSEL_BYTES);
}

static void bytes_are_told_while_a_claim_waits(void **state)
{
    (void)state;
    struct source source = {.is_bytes = true, .waits_in_claim = true};
    run_legs(&source, 1, false, NULL);
    assert_true(told.is_bytes);
    assert_true(told.done >= 2 * MORSEL_BYTES);
    assert_int_equal(told.total, 0);
}

static void a_trace_has_every_morsel(void **state)
{
    (void)state;
    struct source sources[] = {{.is_known = true}, {.is_known = true}};
    struct lb_buf trace = {0};
    run_legs(sources, 2, false, &trace);
    assert_int_equal(lb_codec_verify(trace.data, trace.size, &error), LB_OK);
    const char *cursor = trace.data;
    struct lb_value workers, worker, morsels, event, field;
    lb_codec_next(&cursor, &workers);
    assert_int_equal(workers.count, 1);
    cursor = workers.data;
    lb_codec_next(&cursor, &worker);
    assert_true(lb_value_field(&worker, "morsels", &morsels));
    cursor = morsels.data;
    int64_t n_records = 0, n_pieces = 0;
    double before = 0;
    for (uint32_t i = 0; i < morsels.count; i++) {
        lb_codec_next(&cursor, &event);
        assert_true(lb_value_field(&event, "n", &field));
        n_records += field.i;
        assert_true(lb_value_field(&event, "pieces", &field));
        n_pieces += field.i;
        assert_true(lb_value_field(&event, "start", &field));
        assert_true(field.d >= before);
        assert_true(lb_value_field(&event, "stop", &field));
        before = field.d;
    }
    assert_int_equal(n_records, 2 * N_MORSELS);
    assert_int_equal(n_pieces, 2 * N_MORSELS);
    lb_buf_fini(&trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unlike_inputs_are_not_added),
        cmocka_unit_test(bytes_are_told_while_a_claim_waits),
        cmocka_unit_test(a_trace_has_every_morsel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
