/* Calls that failed: see replay.h. */
#include "lua_bindings/replay.h"

#include <pthread.h>
#include <string.h>

#include "core/base/sys.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/task.h"
#include "lua_bindings/worker_private.h"

enum { MOST_NOTED_BYTES = 16 << 20, MOST_CALLS = 64 };

struct call {
    struct lb_buf plan;
    bool is_cut;
};

struct lb_lua_calls {
    pthread_mutex_t lock; /* guards the others */
    struct call calls[MOST_CALLS];
    uint32_t n;
};

struct lb_lua_calls *lb_lua_calls_new(void)
{
    struct lb_lua_calls *calls = lb_alloc_zero(sizeof *calls);
    if (calls != NULL)
        pthread_mutex_init(&calls->lock, NULL);
    return calls;
}

void lb_lua_calls_delete(struct lb_lua_calls *calls)
{
    if (calls == NULL)
        return;
    for (uint32_t i = 0; i < calls->n; i++)
        lb_buf_fini(&calls->calls[i].plan);
    pthread_mutex_destroy(&calls->lock);
    lb_free(calls, sizeof *calls);
}

bool lb_lua_calls_find(struct lb_lua_calls *calls, uint32_t number, const struct lb_buf **plan,
                       bool *is_cut)
{
    if (calls == NULL || number == 0 || number > calls->n)
        return false;
    *plan = &calls->calls[number - 1].plan;
    *is_cut = calls->calls[number - 1].is_cut;
    return true;
}

/* ---- noting ---- */

static bool is_text(const struct lb_value *value, const char *text)
{
    return value->tag == 's' && value->size == strlen(text) &&
           memcmp(value->data, text, value->size) == 0;
}

void lb_lua_noted_init(struct lb_lua_noted *noted, const struct lb_value *params,
                       const struct lb_lua_functions *functions)
{
    static const char *const of_records[] = {
        "lua.map",    "lua.flat_map",  "lua.filter", "lua.foreach", "lua.map_values",
        "lua.key_by", "lua.partition", "lua.mapper", "lua.compute", "lua.flat_map_values"};
    struct lb_value op;
    struct lb_value final;
    *noted = (struct lb_lua_noted){
        .keeping = LB_KEEP_ARGUMENTS, .params = *params, .functions = functions};
    noted->keeps_task = lb_value_field(params, "final", &final) && final.tag == 's';
    if (!lb_value_field(params, "op", &op))
        return;
    for (size_t i = 0; i < sizeof of_records / sizeof *of_records; i++)
        if (is_text(&op, of_records[i]))
            noted->keeping = LB_KEEP_RECORD;
    if (is_text(&op, "lua.groups") || is_text(&op, "lua.combine"))
        noted->keeping = LB_KEEP_GROUP;
    if (is_text(&op, "lua.map_partitions"))
        noted->keeping = LB_KEEP_PARTITION;
}

void lb_lua_noted_fini(struct lb_lua_noted *noted)
{
    lb_buf_fini(&noted->records);
    lb_buf_fini(&noted->earlier);
}

void lb_lua_noted_reset(struct lb_lua_noted *noted)
{
    noted->records.size = 0;
    noted->n_records = 0;
    noted->is_cut = false;
}

void lb_lua_noted_begin(struct lb_lua_noted *noted)
{
    lb_lua_noted_reset(noted);
    noted->earlier.size = 0;
    noted->n_earlier = 0;
    noted->earlier_is_cut = false;
}

/* Encodes the value at index; a row that all records share is written as what it is. */
static lb_status put_argument(struct lb_lua_task *task, lua_State *L, int index, struct lb_buf *out)
{
    struct lb_error *err = &task->noted_err;
    size_t start = out->size;
    lb_status status = lb_lua_encode(L, index, "argument", out, err);
    if (status != LB_ERR_USER || !lua_istable(L, index) || !lb_lua_row_is_on(&task->row))
        return status;
    out->size = start;
    lb_lua_row_push_table(&task->row, L, task->place.batch, task->place.row);
    status = lb_lua_encode(L, lua_gettop(L), "argument", out, err);
    lua_pop(L, 1);
    return status;
}

/* Ends what was appended as one more record, or drops it. */
static void end_record(struct lb_lua_noted *noted, lb_status status, size_t start, size_t mark,
                       uint32_t n_values)
{
    if (status != LB_OK || noted->records.size > MOST_NOTED_BYTES) {
        noted->records.size = start;
        noted->is_cut = true;
        return;
    }
    lb_codec_end(&noted->records, mark, n_values);
    noted->n_records++;
}

void lb_lua_note_values(struct lb_lua_task *task, lua_State *L, int n)
{
    struct lb_lua_noted *noted = &task->noted;
    struct lb_error *err = &task->noted_err;
    const struct lb_lua_place *place = &task->place;
    size_t start = noted->records.size, mark = 0;
    if (noted->is_cut)
        return;
    int top = lua_gettop(L);
    lb_status status = lb_codec_begin(&noted->records, 'l', &mark, err);
    if (status == LB_OK)
        status = lb_buf_append(&noted->records, place->key, place->key_size, err);
    for (int i = 0; i < n && status == LB_OK; i++)
        status = lb_lua_encode(L, top - n + 1 + i, "value", &noted->records, err);
    end_record(noted, status, start, mark, (uint32_t)n + 1);
}

void lb_lua_note_record(struct lb_lua_task *task)
{
    struct lb_lua_noted *noted = &task->noted;
    struct lb_error *err = &task->noted_err;
    const struct lb_batch *batch = task->place.batch;
    size_t start = noted->records.size, mark = 0;
    if (noted->is_cut)
        return;
    lb_status status = lb_codec_begin(&noted->records, 'l', &mark, err);
    for (uint32_t i = 0; i < batch->n_columns && status == LB_OK; i++)
        status = lb_codec_put_column(&noted->records, &batch->columns[i], task->place.row, err);
    end_record(noted, status, start, mark, batch->n_columns);
}

void lb_lua_note_call(struct lb_lua_task *task, lua_State *L, int function)
{
    struct lb_lua_noted *noted = &task->noted;
    struct lb_error *err = &task->noted_err;
    int n_args = lua_gettop(L) - function;
    size_t mark;
    lb_lua_noted_reset(noted);
    noted->function = 0;
    for (int i = 0; i < LB_TASK_FUNCTIONS && noted->functions->names[i] != NULL; i++) {
        lb_lua_task_push(task, L, LB_SLOT_FUNCTION + i);
        if (lua_rawequal(L, -1, function))
            noted->function = LB_SLOT_FUNCTION + i;
        lua_pop(L, 1);
    }
    lb_status status = lb_codec_begin(&noted->records, 'l', &mark, err);
    for (int i = 1; i <= n_args && status == LB_OK; i++)
        status = put_argument(task, L, function + i, &noted->records);
    if (status == LB_OK && n_args == 0)
        status = lb_codec_put_nil(&noted->records, err);
    if (status != LB_OK) { /* an argument is no value */
        noted->function = 0;
        return;
    }
    lb_codec_end(&noted->records, mark, n_args > 0 ? (uint32_t)n_args : 1);
    noted->n_records = 1;
}

/* A record of a key, or nil, and nil. */
static lb_status note_nothing(struct lb_lua_task *task, struct lb_error *err)
{
    struct lb_lua_noted *noted = &task->noted;
    size_t mark;
    lb_lua_noted_reset(noted);
    LB_TRY(lb_codec_begin(&noted->records, 'l', &mark, err));
    if (task->place.key != NULL)
        LB_TRY(lb_buf_append(&noted->records, task->place.key, task->place.key_size, err));
    else
        LB_TRY(lb_codec_put_nil(&noted->records, err));
    LB_TRY(lb_codec_put_nil(&noted->records, err));
    lb_codec_end(&noted->records, mark, 2);
    noted->n_records = 1;
    return LB_OK;
}

void lb_lua_note_done(struct lb_lua_task *task)
{
    struct lb_lua_noted *noted = &task->noted;
    struct lb_error *err = &task->noted_err;
    lb_status status = LB_OK;
    if (noted->earlier_is_cut)
        return;
    if (noted->n_records == 0 && !noted->is_cut) /* a group of which the function wanted nothing */
        status = note_nothing(task, err);
    size_t size = noted->earlier.size + noted->records.size;
    if (noted->is_cut || status != LB_OK || size > MOST_NOTED_BYTES ||
        lb_buf_append(&noted->earlier, noted->records.data, noted->records.size, err) != LB_OK)
        noted->earlier_is_cut = true;
    else
        noted->n_earlier += noted->n_records;
    lb_lua_noted_reset(noted);
}

/* Notes the frame as a record of one list of rows. Raises when memory is out. */
static int l_note_frame(lua_State *L)
{
    struct lb_lua_task *task = lua_touserdata(L, 1);
    struct lb_lua_noted *noted = &task->noted;
    struct lb_error *err = &task->noted_err;
    size_t record, list;
    uint32_t n = 0;
    lb_lua_noted_reset(noted);
    lb_status status = lb_codec_begin(&noted->records, 'l', &record, err);
    if (status == LB_OK)
        status = lb_codec_begin(&noted->records, 'l', &list, err);
    for (; n < noted->frame_n && status == LB_OK && !noted->is_cut; n++) {
        size_t start = noted->records.size;
        lb_lua_row_push_table(&task->row, L, noted->frame, noted->frame_first + n);
        status = lb_lua_encode(L, 2, "row", &noted->records, err);
        lua_settop(L, 1);
        if (noted->records.size > MOST_NOTED_BYTES) {
            noted->records.size = start;
            noted->is_cut = true;
            break;
        }
    }
    if (status != LB_OK)
        return luaL_error(L, "no frame");
    lb_codec_end(&noted->records, list, n);
    lb_codec_end(&noted->records, record, 1);
    noted->n_records = 1;
    noted->function = LB_SLOT_FUNCTION;
    return 0;
}

static lb_status note_frame(struct lb_lua_task *task, struct lb_error *err)
{
    lua_State *L = task->lua->L;
    if (task->noted.frame == NULL || !lua_checkstack(L, 2))
        return lb_error_set(err, LB_ERR_INTERNAL, "no frame");
    lua_sethook(L, NULL, 0, 0); /* one that the function has left */
    lua_pushcfunction(L, l_note_frame);
    lua_pushlightuserdata(L, task);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
        return LB_OK;
    lua_pop(L, 1);
    return lb_error_memory(err, "a frame", 0);
}

/* ---- keeping ---- */

static lb_status put_text(struct lb_buf *out, const char *text, struct lb_error *err)
{
    return lb_codec_put_string(out, text, strlen(text), err);
}

static lb_status put_field(struct lb_buf *out, const char *key, const char *value,
                           struct lb_error *err)
{
    LB_TRY(put_text(out, key, err));
    return put_text(out, value, err);
}

static lb_status put_inputs(struct lb_buf *out, int64_t input, struct lb_error *err)
{
    size_t mark;
    LB_TRY(put_text(out, "inputs", err));
    LB_TRY(lb_codec_begin(out, 'l', &mark, err));
    LB_TRY(lb_codec_put_int(out, input, err));
    lb_codec_end(out, mark, 1);
    return LB_OK;
}

static lb_status put_list_node(const struct lb_lua_task *task, struct lb_buf *out,
                               struct lb_error *err)
{
    const struct lb_lua_noted *noted = &task->noted;
    size_t node, rows;
    LB_TRY(lb_codec_begin(out, 'm', &node, err));
    LB_TRY(put_text(out, "as_one", err));
    LB_TRY(lb_codec_put_bool(out, true, err));
    LB_TRY(put_field(out, "input", task->lua->worker->input, err));
    LB_TRY(put_field(out, "op", "scan.list", err));
    LB_TRY(put_text(out, "rows", err));
    LB_TRY(lb_codec_begin(out, 'l', &rows, err));
    LB_TRY(lb_buf_append(out, noted->records.data, noted->records.size, err));
    lb_codec_end(out, rows, noted->n_records);
    lb_codec_end(out, node, 4);
    return LB_OK;
}

static lb_status put_sort_node(struct lb_buf *out, struct lb_error *err)
{
    size_t node;
    LB_TRY(lb_codec_begin(out, 'm', &node, err));
    LB_TRY(put_field(out, "by", "hash", err));
    LB_TRY(put_inputs(out, 1, err));
    LB_TRY(put_text(out, "keep_key", err));
    LB_TRY(lb_codec_put_bool(out, true, err));
    LB_TRY(put_field(out, "key", "first", err));
    LB_TRY(put_field(out, "op", "sort", err));
    LB_TRY(put_text(out, "partitions", err));
    LB_TRY(lb_codec_put_int(out, 1, err));
    lb_codec_end(out, node, 6);
    return LB_OK;
}

/* The operator as it was, but for its input and what it does about errors. Keys stay in the order of bytes. */
static lb_status put_same_node(const struct lb_lua_task *task, int64_t input, struct lb_buf *out,
                               struct lb_error *err)
{
    const struct lb_lua_noted *noted = &task->noted;
    const char *cursor = noted->params.data;
    uint32_t n = 0;
    size_t node;
    bool has_inputs = false;
    LB_TRY(lb_codec_begin(out, 'm', &node, err));
    for (uint32_t i = 0; i < noted->params.count; i++) {
        struct lb_value key, value;
        const char *start = cursor;
        lb_codec_next(&cursor, &key);
        lb_codec_next(&cursor, &value);
        size_t shared = key.size < 6 ? key.size : 6;
        int order = memcmp(key.data, "inputs", shared);
        if (!has_inputs && (order > 0 || (order == 0 && key.size >= 6))) {
            LB_TRY(put_inputs(out, input, err));
            has_inputs = true;
            n++;
        }
        bool is_policy = is_text(&key, "on_error");
        if (is_text(&key, "inputs") || is_text(&key, "result") ||
            (is_policy && !(task->is_ending && task->skips)))
            continue;
        if (is_policy) /* calls that were left out before `final` are again */
            LB_TRY(put_field(out, "on_error", "skip", err));
        else
            LB_TRY(lb_buf_append(out, start, (size_t)(cursor - start), err));
        n++;
    }
    if (!has_inputs) {
        LB_TRY(put_inputs(out, input, err));
        n++;
    }
    lb_codec_end(out, node, n);
    return LB_OK;
}

/* The function with the arguments as the values of a record, or of a frame. */
static lb_status put_map_node(const struct lb_lua_task *task, struct lb_buf *out,
                              struct lb_error *err)
{
    const struct lb_lua_noted *noted = &task->noted;
    struct lb_value bytes;
    size_t node;
    const char *name = noted->functions->names[noted->function - LB_SLOT_FUNCTION];
    if (!lb_value_field(&noted->params, name, &bytes) || bytes.tag != 's')
        return lb_error_set(err, LB_ERR_INTERNAL, "no function");
    LB_TRY(lb_codec_begin(out, 'm', &node, err));
    LB_TRY(put_text(out, "fn", err));
    LB_TRY(lb_codec_put_string(out, bytes.data, bytes.size, err));
    LB_TRY(put_inputs(out, 1, err));
    LB_TRY(put_field(out, "label", task->label, err));
    LB_TRY(put_field(out, "op", noted->keeping == LB_KEEP_FRAME ? "lua.frame" : "lua.map", err));
    lb_codec_end(out, node, 4);
    return LB_OK;
}

static lb_status put_store_node(int64_t input, struct lb_buf *out, struct lb_error *err)
{
    size_t node;
    LB_TRY(lb_codec_begin(out, 'm', &node, err));
    LB_TRY(put_inputs(out, input, err));
    LB_TRY(put_field(out, "op", "store", err));
    LB_TRY(put_text(out, "result", err));
    LB_TRY(lb_codec_put_bool(out, true, err));
    lb_codec_end(out, node, 3);
    return LB_OK;
}

static lb_status put_plan(struct lb_lua_task *task, struct lb_buf *out, struct lb_error *err)
{
    const struct lb_lua_noted *noted = &task->noted;
    struct lb_value op;
    bool sorts = lb_value_field(&noted->params, "op", &op) && is_text(&op, "lua.groups");
    size_t plan, nodes;
    LB_TRY(lb_codec_begin(out, 'm', &plan, err));
    LB_TRY(put_text(out, "nodes", err));
    LB_TRY(lb_codec_begin(out, 'l', &nodes, err));
    LB_TRY(put_list_node(task, out, err));
    if (sorts)
        LB_TRY(put_sort_node(out, err));
    if (noted->keeping == LB_KEEP_ARGUMENTS || noted->keeping == LB_KEEP_FRAME)
        LB_TRY(put_map_node(task, out, err));
    else
        LB_TRY(put_same_node(task, sorts ? 2 : 1, out, err));
    LB_TRY(put_store_node(sorts ? 3 : 2, out, err));
    lb_codec_end(out, nodes, sorts ? 4 : 3);
    bool is_other = task->is_beginning || task->is_ending;
    if (is_other)
        LB_TRY(put_field(out, "of", task->is_ending ? "final" : "init", err));
    lb_codec_end(out, plan, is_other ? 2 : 1);
    return LB_OK;
}

/* Sees to it that noted has what the call saw. */
static lb_status complete(struct lb_lua_task *task, struct lb_error *err)
{
    struct lb_lua_noted *noted = &task->noted;
    bool has_place = task->place.batch != NULL || task->place.key != NULL;
    if (task->is_ending) {
        struct lb_buf records = noted->earlier;
        noted->earlier = noted->records;
        noted->records = records;
        noted->n_records = noted->n_earlier;
        noted->is_cut = noted->earlier_is_cut;
        return LB_OK;
    }
    switch (noted->keeping) {
    case LB_KEEP_RECORD:
        lb_lua_noted_reset(noted);
        if (task->place.batch != NULL)
            lb_lua_note_record(task);
        break;
    case LB_KEEP_GROUP:
        has_place = has_place && !task->is_beginning;
        break;
    case LB_KEEP_PARTITION:
        has_place = true;
        break;
    case LB_KEEP_FRAME:
        return note_frame(task, err);
    default:
        if (noted->function != 0)
            return LB_OK;
        has_place = false;
    }
    if (!has_place && !task->is_beginning)
        return lb_error_set(err, LB_ERR_INTERNAL, "what the call saw is not known");
    return noted->n_records == 0 || task->is_beginning ? note_nothing(task, err) : LB_OK;
}

void lb_lua_make_call(struct lb_lua_task *task, struct lb_buf *plan, bool *is_cut)
{
    struct lb_error *ignored = &task->noted_err;
    *plan = (struct lb_buf){0};
    if (complete(task, ignored) != LB_OK || put_plan(task, plan, ignored) != LB_OK)
        lb_buf_fini(plan);
    *is_cut = task->noted.is_cut;
}

void lb_lua_keep_call(struct lb_lua_task *task, struct lb_error *err)
{
    struct lb_lua_calls *calls = task->lua->private->calls;
    struct call call = {0};
    lb_lua_make_call(task, &call.plan, &call.is_cut);
    if (call.plan.size == 0)
        return;
    pthread_mutex_lock(&calls->lock);
    bool fits = calls->n < MOST_CALLS;
    if (fits) {
        calls->calls[calls->n++] = call;
        err->note = calls->n;
    }
    pthread_mutex_unlock(&calls->lock);
    if (!fits)
        lb_buf_fini(&call.plan);
}
