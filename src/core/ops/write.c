/* The write sink: records as text or native blocks into an atomic output, in order, whatever the threads.
 *
 * IDEA    Workers format (and compress) their own morsels. Bytes leave in morsel order: the worker whose morsel has the turn
 *         writes what it has; one that is ahead parks a finished morsel's bytes and goes on, and the worker with the turn
 *         writes parked morsels as their turn comes. A plain file is written at claimed offsets, outside any order of time.
 * STATES  turn = number of the first morsel that is not wholly written (or claimed). Only the holder of the turn's morsel, or
 *         whoever ends it, moves the turn.
 * FOLDERS With `folders` column 0 says in which folder of the directory a record goes and is dropped; records come sorted by it.
 *         Marks say at which byte of a morsel the folder changes. What a file has beside records: write_parts.h.
 * MEMORY  A worker that is ahead holds its morsel's bytes. When the budget has no room for parking them, it waits
 *         for its turn; the holder of the turn never waits, so the run goes on.
 * THREADS `lock` guards turn, parked and the output's claims; `turned` tells that the turn moved. */
#include <pthread.h>
#include <time.h>

#include "core/base/printable.h"
#include "core/base/sys.h"
#include "core/io/format.h"
#include "core/io/format_value.h"
#include "core/io/native.h"
#include "core/io/output.h"
#include "core/ops/attempts.h"
#include "core/ops/ops.h"
#include "core/ops/rejects.h"
#include "core/ops/write_parts.h"

#ifdef LB_TINY
enum { CHUNK_BYTES = 300, PART_BYTES = 1000 };
#else
enum { CHUNK_BYTES = 1 << 20, PART_BYTES = 128 << 20 };
#endif

struct parked {
    uint64_t morsel;
    bool goes_on; /* its partition does, with the next one */
    struct lb_buf bytes;
    struct lb_buf marks;
    uint64_t n_rows;
    struct parked *next;
};

struct write_shared {
    struct lb_write_parts parts;
    bool folders;
    bool is_shown; /* on a terminal: control characters become escapes */
    enum lb_format format;
    struct lb_buf
        keys; /* json of rows: `{"name":`, then `,"name":` ..., each with a NUL behind it */
    pthread_mutex_t lock;
    pthread_cond_t turned;
    uint64_t turn;
    struct parked *parked; /* by morsel number, ascending */
};

struct write_local {
    struct lb_buf raw;   /* formatted, to be compressed */
    struct lb_buf ready; /* to be written */
    struct lb_buf marks; /* folders: struct lb_write_mark, the folder, a NUL; then the next */
    size_t last_mark;    /* where the last one begins */
    uint64_t n_rows;     /* formatted since the last handing over */
};

static bool writes_at_offsets(const struct write_shared *shared);

/* *is_plain: the job says that it is not compressed. */
static lb_status param_compression(const struct lb_op *op, const char *path,
                                   enum lb_compression *compression, bool *is_plain,
                                   struct lb_error *err)
{
    char *name = NULL;
    LB_TRY(lb_param_string(op, "compression", &name, err));
    *compression = lb_compression_of(path);
    bool is_known = name == NULL || lb_compression_named(name, compression);
    *is_plain = name != NULL && *compression == LB_PLAIN;
    lb_strfree(name);
    if (!is_known)
        return lb_error_set(err, LB_ERR_USAGE, "%s: unknown compression", op->label);
    return LB_OK;
}

static lb_status open_output(struct lb_op *self, const char *path, const char *extension,
                             bool is_plain, struct lb_error *err)
{
    struct write_shared *shared = self->shared;
    char *mode = NULL;
    LB_TRY(lb_param_string(self, "mode", &mode, err));
    enum lb_output_mode wanted = LB_MODE_ERROR;
    if (mode != NULL && strcmp(mode, "overwrite") == 0)
        wanted = LB_MODE_OVERWRITE;
    else if (mode != NULL && strcmp(mode, "append") == 0)
        wanted = LB_MODE_APPEND;
    lb_strfree(mode);
    LB_TRY(lb_output_new(path, wanted, extension != NULL ? extension : "", &shared->parts.output,
                         err));
    lb_output_ask(shared->parts.output, self->run->must_stop, self->run);
    if (wanted == LB_MODE_APPEND && !is_plain)
        LB_TRY(lb_output_check_mix(path, shared->parts.compression, err));
    char *receipt = NULL;
    LB_TRY(lb_param_string(self, "receipt", &receipt, err));
    lb_status status =
        receipt != NULL ? lb_output_want_receipt(shared->parts.output, receipt, err) : LB_OK;
    lb_strfree(receipt);
    LB_TRY(status);
    struct lb_attempts *attempts = self->run->options.attempts;
    return attempts != NULL ? lb_output_deliver(shared->parts.output, &attempts->output, err)
                            : LB_OK;
}

static lb_status put_names(const struct lb_value *list, struct lb_buf *header, struct lb_error *err)
{
    struct lb_buf encoded = {0};
    size_t mark = 0;
    lb_status status = lb_codec_begin(&encoded, 'l', &mark, err);
    if (status == LB_OK)
        status = lb_buf_append(&encoded, list->data, list->size, err);
    if (status == LB_OK) {
        lb_codec_end(&encoded, mark, list->count);
        status = lb_native_put_names(encoded.data, encoded.size, header, err);
    }
    lb_buf_fini(&encoded);
    return status;
}

/* The parameters names and header: what csv, json and native files have of the names of columns. */
static lb_status open_names(struct lb_op *self, struct lb_error *err)
{
    struct write_shared *shared = self->shared;
    struct lb_value list, name;
    bool wants_header = true;
    LB_TRY(lb_param_bool(self, "header", true, &wants_header, err));
    if (shared->parts.is_native)
        LB_TRY(lb_native_put_head(&shared->parts.header, err));
    if (!lb_value_field(&self->params, "names", &list))
        return LB_OK;
    if (shared->parts.is_native)
        return put_names(&list, &shared->parts.header, err);
    char separator = shared->format == LB_FORMAT_TSV ? '\t' : ',';
    bool is_csv =
        wants_header && (shared->format == LB_FORMAT_CSV || shared->format == LB_FORMAT_TSV);
    bool is_json = shared->format == LB_FORMAT_JSON;
    const char *cursor = list.data;
    for (uint32_t i = 0; list.tag == 'l' && i < list.count; i++) {
        lb_codec_next(&cursor, &name);
        if (name.tag != 's')
            return lb_error_set(err, LB_ERR_INTERNAL, "plan: write: a name is no string");
        if (is_csv && i > 0)
            LB_TRY(lb_buf_append_byte(&shared->parts.header, separator, err));
        if (is_csv)
            LB_TRY(
                lb_format_csv_string(separator, name.data, name.size, &shared->parts.header, err));
        if (!is_json)
            continue;
        LB_TRY(lb_buf_append_byte(&shared->keys, i > 0 ? ',' : '{', err));
        LB_TRY(lb_format_json_string(name.data, name.size, &shared->keys, err));
        LB_TRY(lb_buf_append(&shared->keys, ":", 2, err));
    }
    return is_csv ? lb_buf_append_byte(&shared->parts.header, '\n', err) : LB_OK;
}

static lb_status write_open(struct lb_op *self, struct lb_error *err)
{
    struct write_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    pthread_mutex_init(&shared->lock, NULL);
    pthread_cond_init(&shared->turned, NULL);
    char *path = NULL, *format = NULL, *extension = NULL;
    bool is_plain = false;
    LB_TRY(lb_param_bool(self, "part_per_morsel", false, &shared->parts.part_per_morsel, err));
    LB_TRY(lb_param_bool(self, "folders", false, &shared->folders, err));
    LB_TRY(lb_param_bool(self, "shown", false, &shared->is_shown, err));
    int64_t part_bytes;
    LB_TRY(lb_param_int(self, "part_bytes", PART_BYTES, &part_bytes, err));
    shared->parts.max_part_bytes = (uint64_t)part_bytes;
    lb_status status = lb_param_string(self, "format", &format, err);
    if (status == LB_OK)
        status = lb_param_string(self, "extension", &extension, err);
    if (status == LB_OK)
        status = lb_param_string(self, "path", &path, err);
    if (status == LB_OK && path == NULL)
        status = lb_error_set(err, LB_ERR_INTERNAL, "plan: write has no path");
    shared->parts.is_native = format != NULL && strcmp(format, "native") == 0;
    if (status == LB_OK && !shared->parts.is_native && format != NULL &&
        !lb_format_parse_name(format, &shared->format))
        status = lb_error_set(err, LB_ERR_USAGE, "unknown output format '%s'", format);
    if (status == LB_OK)
        status = param_compression(self, path, &shared->parts.compression, &is_plain, err);
    if (status == LB_OK)
        status = open_output(self, path, extension, is_plain, err);
    lb_strfree(path);
    lb_strfree(format);
    lb_strfree(extension);
    LB_TRY(status);
    LB_TRY(open_names(self, err));
    if (shared->is_shown)
        LB_TRY(lb_printable_lines(&shared->parts.header, 0, err));
    /* Workers claim places behind it. Elsewhere the header is written when the turn comes to the first bytes. */
    return shared->parts.header.size > 0 && writes_at_offsets(shared)
               ? lb_write_parts_begin(&shared->parts, err)
               : LB_OK;
}

static lb_status write_attach(struct lb_op_local *local, struct lb_error *err)
{
    local->state = lb_alloc_zero(sizeof(struct write_local));
    return local->state != NULL
               ? LB_OK
               : lb_error_memory(err, local->op->label, sizeof(struct write_local));
}

static lb_status write_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct write_local *state = local->state;
    state->raw.size = state->ready.size = state->marks.size = state->last_mark = 0;
    state->n_rows = 0;
    return LB_OK;
}

/* ---- handing over ---- */

/* Waits until the worker's morsel has the turn; the lock is held. */
static lb_status wait_for_turn(struct lb_op_local *local, struct lb_error *err)
{
    struct write_shared *shared = local->op->shared;
    while (shared->turn != local->worker->morsel) {
        if (atomic_load(&local->worker->run->stop) != 0)
            return lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50000000; /* to look at `stop` */
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        struct lb_meter_place before = lb_meter_enter(NULL, LB_TIME_WAIT);
        pthread_cond_timedwait(&shared->turned, &shared->lock, &until);
        lb_meter_leave(before);
    }
    return LB_OK;
}

static bool has_turn(struct lb_op_local *local)
{
    struct write_shared *shared = local->op->shared;
    pthread_mutex_lock(&shared->lock);
    bool result = shared->turn == local->worker->morsel;
    pthread_mutex_unlock(&shared->lock);
    return result;
}

static lb_status park(struct lb_op_local *local, bool *is_parked, struct lb_error *err)
{
    struct write_shared *shared = local->op->shared;
    struct write_local *state = local->state;
    *is_parked = false;
    if (!lb_budget_reserve(local->worker->run->budget, state->ready.capacity))
        return LB_OK;
    struct parked *parked = lb_alloc_zero(sizeof *parked);
    if (parked == NULL) {
        lb_budget_release(local->worker->run->budget, state->ready.capacity);
        return lb_error_memory(err, local->op->label, sizeof *parked);
    }
    *parked = (struct parked){.morsel = local->worker->morsel,
                              .goes_on = local->worker->goes_on,
                              .bytes = state->ready,
                              .marks = state->marks,
                              .n_rows = state->n_rows};
    state->ready = state->marks = (struct lb_buf){0};
    struct parked **place = &shared->parked;
    while (*place != NULL && (*place)->morsel < parked->morsel)
        place = &(*place)->next;
    parked->next = *place;
    *place = parked;
    *is_parked = true;
    return LB_OK;
}

static void parked_free(struct lb_budget *budget, struct parked *parked)
{
    lb_budget_release(budget, parked->bytes.capacity);
    lb_buf_fini(&parked->bytes);
    lb_buf_fini(&parked->marks);
    lb_free(parked, sizeof *parked);
}

/* The next parked morsel if the turn is its; the lock is held. */
static struct parked *take_parked(struct write_shared *shared)
{
    struct parked *parked = shared->parked;
    if (parked == NULL || parked->morsel != shared->turn)
        return NULL;
    shared->parked = parked->next;
    return parked;
}

/* Writes the worker's bytes, then parked morsels; the lock is held at the start and at the end, not while writing.
 * Nobody else writes: the turn only moves here. */
static lb_status write_in_turn(struct lb_op_local *local, struct lb_error *err)
{
    struct write_shared *shared = local->op->shared;
    struct write_local *state = local->state;
    struct lb_budget *budget = local->worker->run->budget;
    pthread_mutex_unlock(&shared->lock);
    lb_status status =
        lb_write_parts_put(&shared->parts, &state->ready, &state->marks, state->n_rows, err);
    bool goes_on = local->worker->goes_on;
    for (;;) {
        if (status == LB_OK)
            status = lb_write_parts_end_morsel(&shared->parts, goes_on, err);
        pthread_mutex_lock(&shared->lock);
        if (status != LB_OK)
            return status;
        shared->turn++;
        struct parked *parked = take_parked(shared);
        if (parked == NULL)
            return LB_OK;
        pthread_mutex_unlock(&shared->lock);
        status =
            lb_write_parts_put(&shared->parts, &parked->bytes, &parked->marks, parked->n_rows, err);
        goes_on = parked->goes_on;
        parked_free(budget, parked);
    }
}

/* Claims places in a plain file for the worker's bytes and for parked morsels, moves the turn at once and writes
 * without the lock: several workers do this at a time. The lock is held at the start and at the end. */
static lb_status write_at_offsets(struct lb_op_local *local, struct lb_error *err)
{
    struct write_shared *shared = local->op->shared;
    struct write_local *state = local->state;
    struct lb_budget *budget = local->worker->run->budget;
    uint64_t offset = lb_output_claim(shared->parts.output, state->ready.size);
    lb_write_parts_count(&shared->parts, state->ready.size);
    shared->parts.n_rows += state->n_rows;
    shared->turn++;
    struct parked *claimed = NULL, **last = &claimed, *parked = NULL;
    while ((parked = take_parked(shared)) != NULL) {
        (void)lb_output_claim(shared->parts.output, parked->bytes.size);
        lb_write_parts_count(&shared->parts, parked->bytes.size);
        shared->parts.n_rows += parked->n_rows;
        shared->turn++;
        parked->next = NULL;
        *last = parked;
        last = &parked->next;
    }
    pthread_cond_broadcast(&shared->turned);
    pthread_mutex_unlock(&shared->lock);
    lb_status status = LB_OK;
    if (state->ready.size > 0)
        status = lb_output_write_at(shared->parts.output, offset, state->ready.data,
                                    state->ready.size, err);
    offset += state->ready.size;
    while (claimed != NULL) {
        parked = claimed;
        claimed = parked->next;
        if (status == LB_OK && parked->bytes.size > 0)
            status = lb_output_write_at(shared->parts.output, offset, parked->bytes.data,
                                        parked->bytes.size, err);
        offset += parked->bytes.size;
        parked_free(budget, parked);
    }
    pthread_mutex_lock(&shared->lock);
    return status;
}

static bool writes_at_offsets(const struct write_shared *shared)
{
    return !shared->parts.is_native && lb_output_is_seekable(shared->parts.output) &&
           !lb_output_is_directory(shared->parts.output);
}

/* Moves what is formatted to `ready`, compressed if asked. Where chunks end depends on the morsel alone. */
static lb_status make_ready(struct write_shared *shared, struct write_local *state,
                            struct lb_error *err)
{
    if (state->raw.size == 0)
        return LB_OK;
    LB_TRY(lb_output_compress(shared->parts.compression, state->raw.data, state->raw.size,
                              &state->ready, err));
    state->raw.size = 0;
    return LB_OK;
}

/* A long morsel: what is ready leaves early when the morsel has the turn. */
static lb_status write_early(struct lb_op_local *local, struct lb_error *err)
{
    struct write_shared *shared = local->op->shared;
    struct write_local *state = local->state;
    if (!has_turn(local)) {
        /* Ahead of the turn and large: wait rather than grow beyond the budget. */
        if (lb_budget_reserve(local->worker->run->budget, state->ready.capacity)) {
            lb_budget_release(local->worker->run->budget, state->ready.capacity);
            return LB_OK;
        }
        pthread_mutex_lock(&shared->lock);
        lb_status status = wait_for_turn(local, err);
        pthread_mutex_unlock(&shared->lock);
        LB_TRY(status);
    }
    if (writes_at_offsets(shared)) {
        pthread_mutex_lock(&shared->lock);
        uint64_t offset = lb_output_claim(shared->parts.output, state->ready.size);
        lb_write_parts_count(&shared->parts, state->ready.size);
        shared->parts.n_rows += state->n_rows;
        pthread_mutex_unlock(&shared->lock);
        LB_TRY(lb_output_write_at(shared->parts.output, offset, state->ready.data,
                                  state->ready.size, err));
    } else {
        LB_TRY(
            lb_write_parts_put(&shared->parts, &state->ready, &state->marks, state->n_rows, err));
    }
    state->ready.size = state->marks.size = state->last_mark = 0;
    state->n_rows = 0;
    return LB_OK;
}

static lb_status write_rows(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    struct write_shared *shared = local->op->shared;
    struct write_local *state = local->state;
    /* Without compression text is formatted right where it leaves from. */
    struct lb_buf *out = shared->parts.compression == LB_PLAIN ? &state->ready : &state->raw;
    size_t before = out->size;
    if (shared->parts.is_native)
        LB_TRY(lb_native_put_batch(batch, out, err));
    else if (shared->keys.size > 0)
        LB_TRY(lb_format_objects(batch, shared->keys.data, shared->keys.size, out, err));
    else
        LB_TRY(lb_format_batch(shared->format, batch, out, err));
    if (shared->is_shown)
        LB_TRY(lb_printable_lines(out, before, err));
    state->n_rows += batch->n_selected;
    if (state->raw.size >= CHUNK_BYTES)
        LB_TRY(make_ready(shared, state, err));
    return state->ready.size >= CHUNK_BYTES ? write_early(local, err) : LB_OK;
}

/* Unless the last mark says so already. */
static lb_status put_mark(struct write_shared *shared, struct write_local *state,
                          const struct lb_view *folder, struct lb_error *err)
{
    const char *last = state->marks.data + state->last_mark + sizeof(struct lb_write_mark);
    size_t left = state->marks.size - state->last_mark;
    if (state->marks.size > 0 && left == sizeof(struct lb_write_mark) + folder->size + 1 &&
        memcmp(last, lb_view_data(folder), folder->size) == 0)
        return LB_OK;
    LB_TRY(make_ready(shared, state, err));
    state->last_mark = state->marks.size;
    struct lb_write_mark mark = {.at = state->ready.size, .size = folder->size + 1};
    LB_TRY(lb_buf_append(&state->marks, &mark, sizeof mark, err));
    LB_TRY(lb_buf_append(&state->marks, lb_view_data(folder), folder->size, err));
    return lb_buf_append_byte(&state->marks, '\0', err);
}

/* Rows of one folder after the other; a morsel, and what is left of it when its bytes went early, begins with a mark. */
static lb_status write_folders(struct lb_op_local *local, const struct lb_batch *batch,
                               struct lb_error *err)
{
    struct write_shared *shared = local->op->shared;
    struct write_local *state = local->state;
    const struct lb_column *folders = &batch->columns[0];
    if (folders->type != LB_STRING || folders->valid != NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: write: a folder is no string");
    for (uint32_t i = 0; i < batch->n_selected;) {
        const struct lb_view *folder = &folders->views[lb_batch_row(batch, i)];
        uint32_t first = i;
        uint32_t rows[LB_BATCH_ROWS];
        struct lb_batch part = *batch;
        while (i < batch->n_selected &&
               lb_view_equal(folder, &folders->views[lb_batch_row(batch, i)])) {
            rows[i - first] = lb_batch_row(batch, i);
            i++;
        }
        part.columns = batch->columns + 1;
        part.n_columns = batch->n_columns - 1;
        part.select = rows;
        part.n_selected = i - first;
        LB_TRY(put_mark(shared, state, folder, err));
        LB_TRY(write_rows(local, &part, err));
    }
    return LB_OK;
}

static lb_status write_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    const struct write_shared *shared = local->op->shared;
    return shared->folders ? write_folders(local, batch, err) : write_rows(local, batch, err);
}

static lb_status write_end(struct lb_op_local *local, struct lb_error *err)
{
    struct write_shared *shared = local->op->shared;
    struct write_local *state = local->state;
    LB_TRY(make_ready(shared, state, err));
    pthread_mutex_lock(&shared->lock);
    lb_status status = LB_OK;
    bool is_parked = false;
    if (shared->turn != local->worker->morsel)
        status = park(local, &is_parked, err);
    if (status == LB_OK && !is_parked)
        status = wait_for_turn(local, err);
    if (status == LB_OK && !is_parked)
        status =
            writes_at_offsets(shared) ? write_at_offsets(local, err) : write_in_turn(local, err);
    pthread_cond_broadcast(&shared->turned);
    pthread_mutex_unlock(&shared->lock);
    return status;
}

static void write_detach(struct lb_op_local *local)
{
    struct write_local *state = local->state;
    lb_buf_fini(&state->raw);
    lb_buf_fini(&state->ready);
    lb_buf_fini(&state->marks);
    lb_free(state, sizeof *state);
}

static lb_status write_finish(struct lb_op *self, struct lb_error *err)
{
    struct write_shared *shared = self->shared;
    /* A single file is whole, with head and end, even without records. */
    if (!lb_output_is_directory(shared->parts.output))
        LB_TRY(lb_write_parts_begin(&shared->parts, err));
    LB_TRY(lb_write_parts_end(&shared->parts, err));
    self->n_result = shared->parts.n_rows;
    self->n_bytes = shared->parts.n_bytes;
    return LB_OK;
}

/* The files of what was left out come first: once the output is there, nothing can fail any more. */
static lb_status write_publish(struct lb_op *self, struct lb_error *err)
{
    struct write_shared *shared = self->shared;
    LB_TRY(lb_rejects_settle(self->run, true, err));
    return lb_output_commit(shared->parts.output, err);
}

static void write_close(struct lb_op *self)
{
    struct write_shared *shared = self->shared;
    if (shared == NULL)
        return;
    while (shared->parked != NULL) {
        struct parked *parked = shared->parked;
        shared->parked = parked->next;
        parked_free(self->run->budget, parked);
    }
    if (shared->parts.output != NULL)
        lb_output_delete(shared->parts.output);
    lb_buf_fini(&shared->parts.header);
    lb_buf_fini(&shared->parts.folder);
    lb_buf_fini(&shared->keys);
    pthread_cond_destroy(&shared->turned);
    pthread_mutex_destroy(&shared->lock);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

const struct lb_op_class lb_op_write = {
    .name = "write",
    .kind = LB_OP_SINK,
    .open = write_open,
    .attach = write_attach,
    .begin = write_begin,
    .push = write_push,
    .end = write_end,
    .detach = write_detach,
    .finish = write_finish,
    .publish = write_publish,
    .close = write_close,
};
