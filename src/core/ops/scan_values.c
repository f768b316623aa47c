/* Sources that need no parsing: integer ranges, literal lists, whole files and native files. */
#include <stdio.h>

#include "core/base/sys.h"
#include "core/column/builder.h"
#include "core/io/native.h"
#include "core/io/stream.h"
#include "core/ops/ops.h"
#include "core/ops/params.h"

/* ---- scan.range ---- */

#ifdef LB_TINY
enum { RANGE_MORSEL = 20 };
#else
enum { RANGE_MORSEL = 64 << 10 }; /* numbers in a morsel */
#endif

struct range_shared {
    int64_t first;
    int64_t step;
    uint64_t count;
    uint64_t next; /* index of the next morsel's first number; guarded by the stage's lock */
};

struct range_local {
    uint64_t from, to; /* indexes */
    int64_t values[LB_BATCH_ROWS];
};

static lb_status range_open(struct lb_op *self, struct lb_error *err)
{
    struct range_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    int64_t last = 0;
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_param_int(self, "first", 1, &shared->first, err));
    LB_TRY(lb_param_int(self, "last", 0, &last, err));
    LB_TRY(lb_param_int(self, "step", 1, &shared->step, err));
    if (shared->step == 0)
        return lb_error_set(err, LB_ERR_USAGE, "%s: the step is 0", self->label);
    if (shared->step == (shared->first <= last ? 1 : -1) &&
        (uint64_t)(shared->first <= last ? last : shared->first) -
                (uint64_t)(shared->first <= last ? shared->first : last) ==
            UINT64_MAX)
        return lb_error_set(err, LB_ERR_USAGE, "%s: more than 2^64 - 1 numbers", self->label);
    /* Unsigned differences are exact for any two int64 in the right order. */
    if (shared->step > 0 && shared->first <= last)
        shared->count = ((uint64_t)last - (uint64_t)shared->first) / (uint64_t)shared->step + 1;
    else if (shared->step < 0 && shared->first >= last)
        shared->count =
            ((uint64_t)shared->first - (uint64_t)last) / (0 - (uint64_t)shared->step) + 1;
    return LB_OK;
}

static lb_status range_attach(struct lb_op_local *local, struct lb_error *err)
{
    local->state = lb_alloc_zero(sizeof(struct range_local));
    return local->state != NULL
               ? LB_OK
               : lb_error_memory(err, local->op->label, sizeof(struct range_local));
}

static bool range_progress(const struct lb_op *self, struct lb_progress *progress)
{
    const struct range_shared *shared = self->shared;
    progress->done = shared->next;
    progress->total = shared->count;
    return true;
}

static lb_status range_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct range_shared *shared = local->op->shared;
    struct range_local *state = local->state;
    *more = shared->next < shared->count;
    if (!*more)
        return LB_OK;
    state->from = shared->next;
    uint64_t left = shared->count - shared->next;
    shared->next += left < RANGE_MORSEL ? left : RANGE_MORSEL;
    state->to = shared->next;
    return LB_OK;
}

static lb_status range_produce(struct lb_op_local *local, struct lb_error *err)
{
    const struct range_shared *shared = local->op->shared;
    struct range_local *state = local->state;
    while (state->from < state->to) {
        uint32_t n = 0;
        for (; n < LB_BATCH_ROWS && state->from < state->to; n++, state->from++)
            state->values[n] =
                (int64_t)((uint64_t)shared->first + state->from * (uint64_t)shared->step);
        struct lb_column column = {.type = LB_INT64, .ints = state->values};
        struct lb_batch batch = {.n_rows = n, .n_columns = 1, .n_selected = n, .columns = &column};
        LB_TRY(lb_push(local->next, &batch, err));
    }
    return LB_OK;
}

static void range_detach(struct lb_op_local *local)
{
    lb_free(local->state, sizeof(struct range_local));
}

static void range_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct range_shared));
    self->shared = NULL;
}

const struct lb_op_class lb_op_scan_range = {
    .name = "scan.range",
    .kind = LB_OP_SOURCE,
    .open = range_open,
    .attach = range_attach,
    .claim = range_claim,
    .progress = range_progress,
    .produce = range_produce,
    .detach = range_detach,
    .close = range_close,
};

/* ---- scan.list: the records stand in the plan itself ----
 *
 * as_one?: they are one morsel, also when there are none; input?: the name of what it is said to be read from. */

struct list_shared {
    const char *cursor; /* next record; guarded by the stage's lock */
    uint32_t count, left;
    bool as_one, is_given;
    struct lb_value input;
};

struct list_local {
    const char *cursor;
    uint32_t n_rows;
    struct lb_batch_builder builder;
};

static lb_status list_open(struct lb_op *self, struct lb_error *err)
{
    struct list_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    struct lb_value rows;
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    if (!lb_value_field(&self->params, "rows", &rows) || rows.tag != 'l')
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has no rows", self->class->name);
    shared->cursor = rows.data;
    shared->count = shared->left = rows.count;
    if (!lb_value_field(&self->params, "input", &shared->input) || shared->input.tag != 's')
        shared->input.size = 0;
    return lb_param_bool(self, "as_one", false, &shared->as_one, err);
}

static lb_status list_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct list_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_batch_builder_init(&state->builder);
    return LB_OK;
}

static lb_status list_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct list_shared *shared = local->op->shared;
    struct list_local *state = local->state;
    *more = shared->as_one ? !shared->is_given : shared->left > 0;
    shared->is_given = true;
    snprintf(local->worker->input, sizeof local->worker->input, "%.*s", (int)shared->input.size,
             shared->input.size > 0 ? shared->input.data : "");
    state->cursor = shared->cursor;
    state->n_rows = shared->as_one || shared->left < LB_BATCH_ROWS ? shared->left : LB_BATCH_ROWS;
    shared->left -= state->n_rows;
    for (uint32_t i = 0; i < state->n_rows; i++)
        shared->cursor += lb_codec_size(shared->cursor);
    return LB_OK;
}

static bool list_progress(const struct lb_op *self, struct lb_progress *progress)
{
    const struct list_shared *shared = self->shared;
    progress->done = shared->count - shared->left;
    progress->total = shared->count;
    return true;
}

static lb_status list_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct list_local *state = local->state;
    const char *cursor = state->cursor;
    lb_batch_builder_reset(&state->builder);
    for (uint32_t i = 0; i < state->n_rows; i++) {
        struct lb_value record;
        lb_codec_next(&cursor, &record);
        if (record.tag != 'l')
            return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: a row is no list",
                                local->op->class->name);
        const char *value = record.data;
        if (!lb_batch_builder_fits(&state->builder, record.count) ||
            (i > 0 && i % LB_BATCH_ROWS == 0)) {
            LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
            lb_batch_builder_reset(&state->builder);
        }
        for (uint32_t j = 0; j < record.count; j++) {
            struct lb_builder *column = NULL;
            size_t size = lb_codec_size(value);
            LB_TRY(lb_batch_builder_column(&state->builder, j, &column, err));
            LB_TRY(lb_builder_encoded_view(column, value, size, err));
            value += size;
        }
        LB_TRY(lb_batch_builder_end_row(&state->builder, i, err));
    }
    return lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err);
}

static void list_detach(struct lb_op_local *local)
{
    struct list_local *state = local->state;
    lb_batch_builder_fini(&state->builder);
    lb_free(state, sizeof *state);
}

static void list_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct list_shared));
    self->shared = NULL;
}

const struct lb_op_class lb_op_scan_list = {
    .name = "scan.list",
    .kind = LB_OP_SOURCE,
    .open = list_open,
    .attach = list_attach,
    .claim = list_claim,
    .progress = list_progress,
    .produce = list_produce,
    .detach = list_detach,
    .close = list_close,
};

/* ---- scan.files and scan.native: a morsel is a file ---- */

struct files_shared {
    struct lb_file_list files;
    size_t next; /* guarded by the stage's lock */
};

struct files_local {
    const struct lb_file *file;
    struct lb_batch_builder builder;
    struct lb_buf content;
    size_t reserved; /* of content, when that is large */
    struct lb_stream *stream;
    struct lb_native_reader *reader;
};

static lb_status files_open(struct lb_op *self, struct lb_error *err)
{
    struct files_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    return lb_param_paths(self, &shared->files, err);
}

static lb_status files_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct files_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_batch_builder_init(&state->builder);
    return LB_OK;
}

static lb_status files_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct files_shared *shared = local->op->shared;
    struct files_local *state = local->state;
    *more = shared->next < shared->files.n_files;
    if (*more) {
        state->file = &shared->files.files[shared->next++];
        snprintf(local->worker->input, sizeof local->worker->input, "%s", state->file->path);
        local->worker->file = state->file->path;
    }
    return LB_OK;
}

static bool files_progress(const struct lb_op *self, struct lb_progress *progress)
{
    const struct files_shared *shared = self->shared;
    progress->is_bytes = true;
    progress->done = atomic_load(&self->n_bytes);
    return lb_file_list_bytes(&shared->files, &progress->total);
}

/* Gives the memory of a large file back. */
static void drop_content(struct lb_op_local *local)
{
    struct files_local *state = local->state;
    if (state->reserved == 0)
        return;
    lb_buf_fini(&state->content);
    lb_budget_release(local->op->run->budget, state->reserved);
    state->reserved = 0;
}

static lb_status too_large(const struct lb_op_local *local, struct lb_error *err)
{
    const struct files_local *state = local->state;
    const struct lb_run *run = local->op->run;
    return lb_error_set(err, LB_ERR_RESOURCE,
                        "%s: the file, which is one record of %s, needs more than %.1f MiB (the "
                        "memory limit is %.1f MiB for all of %u threads; see --memory)",
                        state->file->path, local->op->label, (double)state->content.size / 1048576,
                        (double)run->options.memory_bytes / 1048576, run->options.n_threads);
}

static lb_status read_all(struct lb_op_local *local, struct lb_error *err)
{
    enum { STEP = 256 << 10, FREE_BYTES = 1 << 20 };
    struct files_local *state = local->state;
    state->content.size = 0;
    for (;;) {
        size_t got = 0;
        if (lb_buf_reserve(&state->content, STEP, err) != LB_OK)
            return too_large(local, err);
        size_t held = state->content.capacity;
        if (held > FREE_BYTES && held > state->reserved) {
            if (!lb_budget_reserve(local->op->run->budget, held - state->reserved))
                return too_large(local, err);
            state->reserved = held;
        }
        LB_TRY(lb_stream_read(state->stream, state->content.data + state->content.size, STEP, &got,
                              err));
        state->content.size += got;
        if (got < STEP)
            return LB_OK;
    }
}

static lb_status files_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct files_local *state = local->state;
    struct lb_builder *column = NULL;
    LB_TRY(lb_stream_open(state->file, &state->stream, err));
    lb_stream_watch(state->stream, &local->worker->run->stop);
    lb_stream_count(state->stream, &local->op->n_bytes);
    LB_TRY(read_all(local, err));
    lb_stream_close(state->stream);
    state->stream = NULL;
    if (state->content.size > UINT32_MAX - 1)
        return lb_error_set(err, LB_ERR_RESOURCE, "%s: a string of more than 4 GiB",
                            state->file->path);
    lb_batch_builder_reset(&state->builder);
    LB_TRY(lb_batch_builder_column(&state->builder, 0, &column, err));
    LB_TRY(lb_builder_string(column, state->file->path, strlen(state->file->path), err));
    LB_TRY(lb_batch_builder_column(&state->builder, 1, &column, err));
    LB_TRY(lb_builder_view(column, state->content.data != NULL ? state->content.data : "",
                           state->content.size, err));
    LB_TRY(lb_batch_builder_end_row(&state->builder, 0, err));
    lb_status status = lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err);
    drop_content(local);
    return status;
}

static lb_status native_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct files_local *state = local->state;
    bool more = true;
    if (state->reader != NULL) /* left over by a morsel that was cut short */
        lb_native_close(state->reader);
    state->reader = NULL;
    LB_TRY(lb_native_open(state->file, &state->reader, err));
    lb_native_count(state->reader, &local->op->n_bytes);
    while (more) {
        lb_batch_builder_reset(&state->builder);
        LB_TRY(lb_native_read(state->reader, &state->builder, &more, err));
        if (state->builder.n_rows > 0)
            LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    }
    lb_native_close(state->reader);
    state->reader = NULL;
    return LB_OK;
}

static void files_detach(struct lb_op_local *local)
{
    struct files_local *state = local->state;
    lb_stream_close(state->stream);
    if (state->reader != NULL)
        lb_native_close(state->reader);
    lb_batch_builder_fini(&state->builder);
    drop_content(local);
    lb_buf_fini(&state->content);
    lb_free(state, sizeof *state);
}

static void files_close(struct lb_op *self)
{
    struct files_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_file_list_fini(&shared->files);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

const struct lb_op_class lb_op_scan_files = {
    .name = "scan.files",
    .kind = LB_OP_SOURCE,
    .open = files_open,
    .attach = files_attach,
    .claim = files_claim,
    .progress = files_progress,
    .produce = files_produce,
    .detach = files_detach,
    .close = files_close,
};

const struct lb_op_class lb_op_scan_native = {
    .name = "scan.native",
    .kind = LB_OP_SOURCE,
    .open = files_open,
    .attach = files_attach,
    .claim = files_claim,
    .progress = files_progress,
    .produce = native_produce,
    .detach = files_detach,
    .close = files_close,
};
