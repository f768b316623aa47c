/* What a run took, as one encoded value; FORMAT see lb_plan_metrics. */
#include "core/column/codec.h"
#include "core/plan/plan_private.h"

static lb_status put_name(struct lb_buf *out, const char *name, struct lb_error *err)
{
    return lb_codec_put_string(out, name, strlen(name), err);
}

static lb_status put_count(struct lb_buf *out, const char *name, uint64_t value,
                           struct lb_error *err)
{
    LB_TRY(put_name(out, name, err));
    return lb_codec_put_int(out, (int64_t)value, err);
}

static lb_status put_seconds(struct lb_buf *out, const char *name, uint64_t ns,
                             struct lb_error *err)
{
    LB_TRY(put_name(out, name, err));
    return lb_codec_put_float(out, 1e-9 * (double)ns, err);
}

/* The numbers of the stages whose sinks it reads. */
static lb_status put_reads(struct lb_buf *out, const struct lb_plan *plan, const struct lb_op *op,
                           struct lb_error *err)
{
    size_t list;
    uint32_t n = 0;
    LB_TRY(put_name(out, "reads", err));
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        for (uint32_t s = 0; s < plan->n_stages; s++) {
            if (plan->stages[s].run.sink == op->inputs[i]) {
                LB_TRY(lb_codec_put_int(out, (int64_t)s + 1, err));
                n++;
            }
        }
    }
    lb_codec_end(out, list, n);
    return LB_OK;
}

/* An operator that was not opened has no run. */
static bool meters_gc(const struct lb_op *op)
{
    return op->run != NULL && op->run->options.meters_gc;
}

static lb_status put_times(struct lb_buf *out, const struct lb_op *op, struct lb_error *err)
{
    uint64_t ns[LB_N_TIMES], sum = 0;
    for (int i = 0; i < LB_N_TIMES; i++)
        sum += ns[i] = atomic_load(&op->time_ns[i]);
    LB_TRY(put_seconds(out, "seconds", sum, err));
    LB_TRY(put_seconds(out, "seconds_c", ns[LB_TIME_C], err));
    if (meters_gc(op))
        LB_TRY(put_seconds(out, "seconds_gc", ns[LB_TIME_GC], err));
    LB_TRY(put_seconds(out, "seconds_lua", ns[LB_TIME_LUA], err));
    LB_TRY(put_seconds(out, "seconds_spill", ns[LB_TIME_SPILL], err));
    LB_TRY(put_seconds(out, "seconds_wait", ns[LB_TIME_WAIT], err));
    LB_TRY(put_count(out, "spill_read_bytes", atomic_load(&op->spill_read_bytes), err));
    return put_count(out, "spill_written_bytes", atomic_load(&op->spill_written_bytes), err);
}

/* leg: its number from 1, 0 for the sink. next: what it pushes to, when nothing else does; or NULL. */
static lb_status put_op(struct lb_buf *out, const struct lb_plan *plan, const struct lb_op *op,
                        uint32_t leg, bool is_idle, const struct lb_op *next, struct lb_error *err)
{
    size_t mark;
    uint32_t n = 11 + meters_gc(op);
    bool is_source = op->class->kind == LB_OP_SOURCE;
    LB_TRY(lb_codec_begin(out, 'm', &mark, err));
    if (atomic_load(&op->n_bytes) > 0) {
        LB_TRY(put_count(out, "bytes", atomic_load(&op->n_bytes), err));
        n++;
    }
    if (op->facts.size > 0) {
        LB_TRY(put_name(out, "facts", err));
        LB_TRY(lb_buf_append(out, op->facts.data, op->facts.size, err));
        n++;
    }
    if (is_idle) {
        LB_TRY(put_name(out, "idle", err));
        LB_TRY(lb_codec_put_bool(out, true, err));
        n++;
    }
    LB_TRY(put_name(out, "label", err));
    LB_TRY(put_name(out, op->label, err));
    LB_TRY(put_count(out, "leg", leg, err));
    LB_TRY(put_name(out, "op", err));
    LB_TRY(put_name(out, op->class->name, err));
    LB_TRY(put_reads(out, plan, op, err));
    if (!is_source) {
        LB_TRY(put_count(out, "rows_in", atomic_load(&op->rows_in), err));
        n++;
    }
    if (is_source || next != NULL) {
        uint64_t rows = atomic_load(is_source ? &op->rows_in : &next->rows_in);
        LB_TRY(put_count(out, "rows_out", rows, err));
        n++;
    }
    LB_TRY(put_times(out, op, err));
    lb_codec_end(out, mark, n);
    return LB_OK;
}

static lb_status put_operators(struct lb_buf *out, const struct lb_plan *plan,
                               const struct lb_stage *stage, struct lb_error *err)
{
    size_t list;
    uint32_t n = 1, n_active = 0;
    for (uint32_t i = 0; i < stage->n_legs; i++)
        n_active += !stage->legs[i].is_idle;
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (uint32_t i = 0; i < stage->n_legs; i++) {
        const struct lb_leg *leg = &stage->legs[i];
        const struct lb_op *last = n_active == 1 && !leg->is_idle ? stage->sink : NULL;
        for (uint32_t j = 0; j < leg->n_ops; j++, n++) {
            const struct lb_op *next = j + 1 < leg->n_ops ? leg->ops[j + 1] : last;
            LB_TRY(put_op(out, plan, leg->ops[j], i + 1, leg->is_idle, next, err));
        }
    }
    LB_TRY(put_op(out, plan, stage->sink, 0, false, NULL, err));
    lb_codec_end(out, list, n);
    return LB_OK;
}

static lb_status put_stage(struct lb_buf *out, const struct lb_plan *plan,
                           const struct lb_stage *stage, struct lb_error *err)
{
    size_t map;
    uint64_t rows_in = 0;
    for (uint32_t i = 0; i < stage->n_legs; i++)
        rows_in += atomic_load(&stage->legs[i].ops[0]->rows_in);
    LB_TRY(lb_codec_begin(out, 'm', &map, err));
    LB_TRY(put_seconds(out, "claim_seconds", atomic_load(&stage->claim_ns), err));
    LB_TRY(put_seconds(out, "idle_seconds", stage->idle_ns, err));
    LB_TRY(put_count(out, "morsels", stage->n_morsels, err));
    LB_TRY(put_name(out, "operators", err));
    LB_TRY(put_operators(out, plan, stage, err));
    LB_TRY(put_count(out, "peak_bytes", stage->peak_bytes, err));
    LB_TRY(put_count(out, "rows_in", rows_in, err));
    LB_TRY(put_count(out, "rows_out", atomic_load(&stage->sink->rows_in), err));
    LB_TRY(put_seconds(out, "seconds", stage->stop_ns - stage->start_ns, err));
    LB_TRY(put_count(out, "spilled_bytes", stage->spilled_bytes, err));
    LB_TRY(put_seconds(out, "start", stage->start_ns, err));
    lb_codec_end(out, map, 10);
    return LB_OK;
}

lb_status lb_plan_metrics(const struct lb_plan *plan, struct lb_buf *out, struct lb_error *err)
{
    size_t list;
    LB_TRY(lb_codec_begin(out, 'l', &list, err));
    for (uint32_t s = 0; s < plan->n_stages; s++)
        LB_TRY(put_stage(out, plan, &plan->stages[s].run, err));
    lb_codec_end(out, list, plan->n_stages);
    return LB_OK;
}
