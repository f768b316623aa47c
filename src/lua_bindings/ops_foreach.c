/* foreach: calls a function for each record, for its effects; records go on unchanged.
 *
 * IDEA   What the function did cannot be taken back. When an attempt of the run is repeated (attempts.h), the records that
 *        it has seen are passed over, and what it added to counters for them counts as it did. A call that failed and was
 *        skipped is made again: it fails again, for the count and the file of bad records. */
#include "core/base/sys.h"
#include "core/ops/attempts.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/task.h"
#include "lua_bindings/worker_private.h"

struct foreach {
    struct lb_lua_task task;
    struct lb_attempts *attempts; /* NULL: the run is not repeated */
    const struct lb_batch *batch; /* being pushed */
    uint32_t *select;             /* rows of batch that go on */
    uint32_t select_capacity, n_selected;
    /* of the morsel */
    bool has_begun;
    struct lb_called earlier; /* by earlier attempts */
    struct lb_called now;
    size_t next_failed;    /* of earlier.failed, in bytes */
    struct lb_buf pending; /* of counters, before a batch */
};

static lb_status attach(struct lb_op_local *local, struct lb_error *err)
{
    static const struct lb_lua_functions functions = {{"fn"}, 1};
    struct foreach *f = lb_alloc_zero(sizeof *f);
    if (f == NULL)
        return lb_error_memory(err, local->op->label, sizeof *f);
    local->state = f;
    f->attempts = local->worker->run->options.attempts;
    LB_TRY(lb_lua_task_init(&f->task, local->worker, &local->op->params, local->op->label,
                            &functions, local->next, err));
    return lb_lua_task_take_rows(&f->task, &local->op->params, LB_SLOT_FUNCTION, 1, err);
}

/* Notes what was called of the morsel, for the next attempt; it may have ended before it came as far as an earlier one. */
static lb_status note(struct foreach *f, struct lb_error *err)
{
    if (!f->has_begun)
        return LB_OK;
    f->has_begun = false;
    struct lb_called *further = f->now.n_records < f->earlier.n_records ? &f->earlier : &f->now;
    lb_called_fini(further == &f->now ? &f->earlier : &f->now);
    return lb_attempts_note(f->attempts, further, err);
}

static lb_status begin(struct lb_op_local *local, struct lb_error *err)
{
    struct foreach *f = local->state;
    lb_emitter_reset(&f->task.emitter);
    if (f->attempts == NULL)
        return LB_OK;
    LB_TRY(note(f, err));
    f->earlier = lb_attempts_take(f->attempts, local->worker->morsel);
    f->now = (struct lb_called){.morsel = local->worker->morsel};
    f->next_failed = 0;
    f->has_begun = true;
    const struct lb_buf *counted = &f->earlier.counted;
    LB_TRY(lb_lua_counters_add(f->task.lua->private, counted, err));
    return lb_buf_append(&f->now.counted, counted->data, counted->size, err);
}

/* Whether the record was seen in an earlier attempt. */
static bool is_seen(struct foreach *f)
{
    uint64_t failed;
    if (f->now.n_records >= f->earlier.n_records)
        return false;
    if (f->next_failed == f->earlier.failed.size)
        return true;
    memcpy(&failed, f->earlier.failed.data + f->next_failed, sizeof failed);
    if (failed != f->now.n_records)
        return true;
    f->next_failed += sizeof failed;
    return false;
}

static void note_failed(struct foreach *f)
{
    struct lb_emitter *e = &f->task.emitter;
    lb_status status =
        lb_buf_append(&f->now.failed, &f->now.n_records, sizeof f->now.n_records, &e->err);
    if (status != LB_OK)
        lb_emitter_throw(e, status);
}

static int l_foreach(lua_State *L)
{
    struct foreach *f = lua_touserdata(L, 1);
    const struct lb_batch *batch = f->batch;
    luaL_checkstack(L, (int)batch->n_columns + LUA_MINSTACK, "a record");
    lb_lua_task_push(&f->task, L, LB_SLOT_FUNCTION);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        f->task.place.row = row;
        f->task.emitter.parent_row = row;
        bool is_good = is_seen(f);
        if (!is_good) {
            lua_pushvalue(L, 2);
            int n_args = lb_lua_task_push_record(&f->task, L, batch, row);
            is_good = lb_lua_task_call(&f->task, L, n_args, 0);
        }
        if (is_good)
            f->select[f->n_selected++] = row;
        else if (f->attempts != NULL)
            note_failed(f);
        f->now.n_records++;
    }
    return 0;
}

static lb_status ready_select(struct foreach *f, uint32_t n, struct lb_error *err)
{
    f->n_selected = 0;
    if (n <= f->select_capacity)
        return LB_OK;
    uint32_t capacity = n > LB_BATCH_ROWS ? n : LB_BATCH_ROWS;
    uint32_t *grown =
        lb_realloc(f->select, f->select_capacity * sizeof *grown, capacity * sizeof *grown);
    if (grown == NULL)
        return lb_error_memory(err, f->task.label, capacity * sizeof *grown);
    f->select = grown;
    f->select_capacity = capacity;
    return LB_OK;
}

static lb_status push(struct lb_op_local *local, const struct lb_batch *batch, struct lb_error *err)
{
    struct foreach *f = local->state;
    struct lb_lua_worker_private *p = f->task.lua->private;
    f->batch = batch;
    f->task.place.batch = batch;
    f->task.emitter.parent = batch;
    LB_TRY(ready_select(f, batch->n_selected, err));
    LB_TRY(lb_lua_counters_copy(p, &f->pending, err));
    lb_status status = lb_lua_task_run(&f->task, l_foreach, f, err);
    if (f->attempts != NULL) {
        struct lb_error ignored;
        lb_status counted = lb_lua_counters_since(p, &f->pending, &f->now.counted,
                                                  status == LB_OK ? err : &ignored);
        status = status == LB_OK ? counted : status;
    }
    LB_TRY(status);
    struct lb_batch kept = *batch;
    if (f->n_selected < batch->n_selected) {
        kept.select = f->select;
        kept.n_selected = f->n_selected;
    }
    return lb_push(local->next, &kept, err);
}

static lb_status end(struct lb_op_local *local, struct lb_error *err)
{
    struct foreach *f = local->state;
    if (f->has_begun && f->now.n_records < f->earlier.n_records)
        return lb_error_set(
            err, LB_ERR_RESOURCE,
            "%s: the repeated attempt gives fewer records than were seen already; a "
            "function does not give the same again",
            local->op->label);
    return note(f, err);
}

static void detach(struct lb_op_local *local)
{
    struct foreach *f = local->state;
    struct lb_error ignored; /* without memory for a note the run fails for want of memory anyway */
    lb_status status = note(f, &ignored);
    (void)status;
    lb_called_fini(&f->earlier);
    lb_called_fini(&f->now);
    lb_buf_fini(&f->pending);
    lb_lua_task_fini(&f->task);
    lb_free(f->select, f->select_capacity * sizeof *f->select);
    lb_free(f, sizeof *f);
}

const struct lb_op_class lb_lua_op_foreach = {
    .name = "lua.foreach",
    .kind = LB_OP_TRANSFORM,
    .attach = attach,
    .begin = begin,
    .push = push,
    .end = end,
    .detach = detach,
};
