/* Tasks: see task.h. */
#include "lua_bindings/task.h"

#include <stdio.h>

#include "core/base/sys.h"
#include "core/base/utf8.h"
#include "core/ops/attempts.h"
#include "core/ops/rejects.h"
#include "core/ops/skips.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/ship.h"
#include "lua_bindings/worker_private.h"

enum { MESSAGE_BYTES = 1024 };

/* Raises what went wrong while a record was left out. */
static void check(struct lb_lua_task *task, lb_status status)
{
    if (status != LB_OK)
        lb_emitter_throw(&task->emitter, status);
}

/* Encodes the record of a batch into out: its value, a list of its values, or a row. */
static lb_status encode_record(struct lb_lua_task *task, lua_State *L, struct lb_buf *out,
                               struct lb_error *err)
{
    const struct lb_batch *batch = task->place.batch;
    uint32_t row = task->place.row;
    size_t mark;
    if (lb_lua_row_is_on(&task->row)) {
        lb_lua_row_push_table(&task->row, L, batch, row);
        lb_status status = lb_lua_encode(L, lua_gettop(L), "record", out, err);
        lua_pop(L, 1);
        return status;
    }
    if (batch->n_columns == 1)
        return lb_codec_put_column(out, &batch->columns[0], row, err);
    LB_TRY(lb_codec_begin(out, 'l', &mark, err));
    for (uint32_t i = 0; i < batch->n_columns; i++)
        LB_TRY(lb_codec_put_column(out, &batch->columns[i], row, err));
    lb_codec_end(out, mark, batch->n_columns);
    return LB_OK;
}

static const char *verb_of(const struct lb_lua_task *task)
{
    return task->verb[0] != '\0' ? task->verb : task->label;
}

/* Keeps the record, or the group's key, for the file of on_error = { to = path }. */
static lb_status reject(struct lb_lua_task *task, lua_State *L, const char *kind,
                        const char *message, const struct lb_origin *origin, struct lb_error *err)
{
    const struct lb_lua_place *place = &task->place;
    struct lb_reject item = {
        .kind = kind, .message = message, .verb = verb_of(task), .origin = *origin};
    struct lb_buf *value = &task->rejected_value;
    value->size = 0;
    item.is_key = place->key != NULL;
    if (item.is_key)
        LB_TRY(lb_buf_append(value, place->key, place->key_size, err));
    else if (place->batch != NULL)
        LB_TRY(encode_record(task, L, value, err));
    else
        LB_TRY(lb_codec_put_nil(value, err));
    item.value = value->data;
    item.value_size = value->size;
    return lb_reject_put(&item, &task->rejected, err);
}

/* Where user code failed: a line of it, else where the function begins that was called. */
static void find_place(const struct lb_lua_task *task, lua_State *L, int slot, char *place,
                       size_t size)
{
    lua_Debug ar;
    lb_lua_task_push(task, L, slot);
    if (!lua_isfunction(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    lua_getinfo(L, ">S", &ar);
    if (strcmp(ar.what, "C") != 0)
        snprintf(place, size, "%s:%d", ar.short_src, ar.linedefined);
}

/* Counts a skipped record. */
static void leave_out(struct lb_lua_task *task, lua_State *L, const char *kind, const char *place,
                      const char *message)
{
    struct lb_error *err = &task->emitter.err;
    const struct lb_lua_place *at = &task->place;
    struct lb_skip item = {.verb = verb_of(task), .kind = kind, .place = place, .message = message};
    if (at->key == NULL && at->batch != NULL)
        check(task, lb_batch_origin(at->batch, at->row, &item.origin, err));
    if (task->rejects != NULL)
        check(task, reject(task, L, kind, message, &item.origin, err));
    if (task->keeps_calls && lb_skips_is_first(task->lua->worker, &item))
        lb_lua_make_call(task, &item.call, &item.call_is_cut);
    check(task, lb_skips_note(task->lua->worker, &item, err));
}

/* A failure that is held. In held_texts are its place and, behind that, its message; of a row of equal ones only the first's. */
struct held {
    const char *kind; /* static */
    size_t texts;
    uint32_t row, frame_first, frame_n;
};

static void hold(struct lb_lua_task *task, const char *kind, const char *place, const char *message)
{
    struct lb_error *err = &task->emitter.err;
    struct lb_buf *texts = &task->held_texts;
    const struct lb_lua_noted *noted = &task->noted;
    struct held held = {kind, 0, task->place.row, noted->frame_first, noted->frame_n};
    size_t place_size = strlen(place) + 1;
    bool is_same = false;
    if (task->held.size > 0) {
        struct held last;
        memcpy(&last, task->held.data + task->held.size - sizeof last, sizeof last);
        const char *before = texts->data + last.texts;
        is_same = strcmp(before, place) == 0 && strcmp(before + place_size, message) == 0;
        held.texts = last.texts;
    }
    if (!is_same) {
        held.texts = texts->size;
        check(task, lb_buf_append(texts, place, place_size, err));
        check(task, lb_buf_append(texts, message, strlen(message) + 1, err));
    }
    check(task, lb_buf_append(&task->held, &held, sizeof held, err));
}

static void skip(struct lb_lua_task *task, lua_State *L, const char *kind, const char *place,
                 const char *message)
{
    if (task->holds)
        hold(task, kind, place, message);
    else
        leave_out(task, L, kind, place, message);
}

bool lb_lua_task_call_guarded(struct lb_lua_task *task, lua_State *L, int n_args, int n_results)
{
    struct lb_lua_guard guard = {.function = lua_gettop(L) - n_args};
    if (!task->skips) {
        lb_lua_task_call_strictly(task, L, n_args, n_results);
        return true;
    }
    if (task->keeps_calls && task->noted.keeping == LB_KEEP_ARGUMENTS)
        lb_lua_note_call(task, L, guard.function);
    char place[LB_PLACE_BYTES] = "", message[MESSAGE_BYTES];
    lua_Debug ar;
    lua_pushvalue(L, guard.function);
    lua_getinfo(L, ">S", &ar);
    if (strcmp(ar.what, "C") != 0)
        snprintf(place, sizeof place, "%s:%d", ar.short_src, ar.linedefined);
    lb_lua_guard_begin(&guard, task->lua, L, true);
    int status = lua_pcall(L, n_args, n_results, guard.function);
    enum lb_lua_outcome outcome = lb_lua_guard_end(&guard, task->lua, L, status);
    if (__builtin_expect(status == LUA_OK && outcome == LB_CALL_ENDED, 1))
        return true;
    /* A light userdata is an error of the engine on its way up. */
    bool is_late = outcome == LB_CALL_LATE;
    bool is_ours = task->emitter.has_failed || (lua_islightuserdata(L, -1) && !is_late);
    if (is_ours || status == LUA_ERRMEM || atomic_load(&task->lua->worker->run->stop) != 0)
        lua_error(L);
    lb_lua_guard_tell(task->lua, L, status, message, sizeof message, place, sizeof place);
    lua_settop(L, guard.function - 1);
    skip(task, L, is_late ? lb_lua_guard_kind(task->lua) : "error", place, message);
    return false;
}

void lb_lua_task_call_strictly(struct lb_lua_task *task, lua_State *L, int n_args, int n_results)
{
    struct lb_lua_guard guard = {.function = lua_gettop(L) - n_args};
    if (task->keeps_calls && task->noted.keeping == LB_KEEP_ARGUMENTS)
        lb_lua_note_call(task, L, guard.function);
    lb_lua_guard_begin(&guard, task->lua, L, false);
    lua_call(L, n_args, n_results);
    lb_lua_guard_end(&guard, task->lua, L, LUA_OK);
}

void lb_lua_task_refuse(struct lb_lua_task *task, lua_State *L, int slot)
{
    char place[LB_PLACE_BYTES] = "", message[MESSAGE_BYTES];
    find_place(task, L, slot, place, sizeof place);
    const char *problem = task->emitter.err.message;
    snprintf(message, sizeof message, "%s%swhat the function gave: %.*s", place,
             *place != '\0' ? ": " : "", (int)lb_utf8_cut(problem, strlen(problem), 800), problem);
    if (!task->skips) {
        lua_pushstring(L, message);
        lua_error(L);
    }
    skip(task, L, "error", place, message);
}

void lb_lua_task_push(const struct lb_lua_task *task, lua_State *L, int slot)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->slots);
    lua_rawgeti(L, -1, slot);
    lua_remove(L, -2);
}

void lb_lua_task_set(const struct lb_lua_task *task, lua_State *L, int slot)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->slots);
    lua_insert(L, -2);
    lua_rawseti(L, -2, slot);
    lua_pop(L, 1);
}

/* Loading */

struct loading {
    struct lb_lua_task *task;
    const struct lb_value *params;
    const struct lb_lua_functions *functions;
};

static int l_task_load(lua_State *L)
{
    struct loading *loading = lua_touserdata(L, 1);
    struct lb_lua_task *task = loading->task;
    const struct lb_lua_functions *functions = loading->functions;
    struct lb_error *err = &task->emitter.err;
    lua_createtable(L, LB_SLOT_FUNCTION + LB_TASK_FUNCTIONS, 0);
    lb_emitter_push_closure(&task->emitter, L);
    lua_rawseti(L, 2, LB_SLOT_EMIT);
    for (unsigned i = 0; i < LB_TASK_FUNCTIONS && functions->names[i] != NULL; i++) {
        struct lb_value bytes;
        if (lb_value_field(loading->params, functions->names[i], &bytes) && bytes.tag == 's') {
            lb_status status = lb_lua_unship(L, bytes.data, bytes.size, err);
            if (status != LB_OK)
                lb_emitter_throw(&task->emitter, status);
            lua_rawseti(L, 2, LB_SLOT_FUNCTION + (int)i);
        } else if (i < functions->n_required) {
            lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has no function '%s'", task->label,
                         functions->names[i]);
            lb_emitter_throw(&task->emitter, LB_ERR_INTERNAL);
        }
    }
    task->slots = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static lb_status read_policy(struct lb_lua_task *task, const struct lb_value *params,
                             struct lb_error *err)
{
    struct lb_value policy, path = {.tag = 'n'};
    if (!lb_value_field(params, "on_error", &policy))
        return LB_OK;
    if (policy.tag == 'm' && lb_value_field(&policy, "to", &path) && path.tag == 's') {
        task->skips = true;
        return lb_rejects_of(task->lua->worker->run, path.data, path.size, &task->rejects, err);
    }
    task->skips = policy.tag == 's' && policy.size == 4 && memcmp(policy.data, "skip", 4) == 0;
    bool fails = policy.tag == 's' && policy.size == 4 && memcmp(policy.data, "fail", 4) == 0;
    if (!task->skips && !fails)
        return lb_error_set(err, LB_ERR_INTERNAL,
                            "plan: %s: on_error is neither fail nor skip nor a path", task->label);
    return LB_OK;
}

lb_status lb_lua_task_init(struct lb_lua_task *task, struct lb_worker *worker,
                           const struct lb_value *params, const char *label,
                           const struct lb_lua_functions *functions, struct lb_op_local *next,
                           struct lb_error *err)
{
    task->skips = task->is_guarded = task->keeps_calls = false;
    task->is_beginning = task->is_ending = false;
    lb_lua_noted_init(&task->noted, params, functions);
    task->holds = false;
    task->rejects = NULL;
    task->verb[0] = '\0';
    task->rejected = task->rejected_value = (struct lb_buf){0};
    task->held = task->held_texts = (struct lb_buf){0};
    task->n_told = 0;
    task->slots = LUA_NOREF;
    task->row = (struct lb_lua_row){0};
    LB_TRY(lb_lua_worker(worker, &task->lua, err));
    task->label = lb_strdup(label);
    if (task->label == NULL)
        return lb_error_memory(err, "an operator", strlen(label) + 1);
    lb_emitter_init(&task->emitter, task->lua, next);
    task->place = (struct lb_lua_place){.label = task->label};
    lb_status status = read_policy(task, params, err);
    struct loading loading = {task, params, functions};
    task->keeps_calls = task->lua->private->calls != NULL;
    task->is_guarded = task->skips || task->keeps_calls ||
                       worker->run->options.record_timeout_ns > 0 ||
                       worker->run->options.max_instructions > 0;
    if (status == LB_OK)
        status = lb_lua_task_run(task, l_task_load, &loading, err);
    if (status != LB_OK)
        lb_lua_task_fini(task);
    return status;
}

void lb_lua_task_fini(struct lb_lua_task *task)
{
    if (task->label == NULL)
        return;
    lua_State *L = task->lua->L;
    lb_lua_row_fini(&task->row);
    if (task->slots != LUA_NOREF && lua_checkstack(L, 4)) {
        lb_lua_task_push(task, L, LB_SLOT_EMIT);
        lb_emitter_disarm(L, -1);
        lua_pop(L, 1);
        luaL_unref(L, LUA_REGISTRYINDEX, task->slots);
    }
    task->slots = LUA_NOREF;
    lb_lua_noted_fini(&task->noted);
    lb_buf_fini(&task->rejected);
    lb_buf_fini(&task->rejected_value);
    lb_buf_fini(&task->held);
    lb_buf_fini(&task->held_texts);
    lb_emitter_fini(&task->emitter);
    lb_strfree(task->label);
    task->label = NULL;
}

/* Failures that are held */

lb_status lb_lua_task_hold(struct lb_lua_task *task, const struct lb_value *params,
                           struct lb_error *err)
{
    struct lb_value label;
    LB_TRY(read_policy(task, params, err));
    if (!task->skips)
        return LB_OK;
    task->is_guarded = task->holds = true;
    if (lb_value_field(params, "label", &label) && label.tag == 's')
        snprintf(task->verb, sizeof task->verb, "%.*s", (int)label.size, label.data);
    return LB_OK;
}

struct telling {
    struct lb_lua_task *task;
    uint32_t n;
};

static int l_task_tell(lua_State *L)
{
    struct telling *telling = lua_touserdata(L, 1);
    struct lb_lua_task *task = telling->task;
    for (; telling->n > 0; telling->n--) {
        struct held held;
        memcpy(&held, task->held.data + task->n_told++ * sizeof held, sizeof held);
        const char *place = task->held_texts.data + held.texts;
        task->place.row = held.row;
        task->noted.frame_first = held.frame_first;
        task->noted.frame_n = held.frame_n;
        leave_out(task, L, held.kind, place, place + strlen(place) + 1);
    }
    return 0;
}

lb_status lb_lua_task_tell(struct lb_lua_task *task, uint32_t n, struct lb_error *err)
{
    struct telling telling = {task, n};
    LB_TRY(lb_lua_task_run(task, l_task_tell, &telling, err));
    if (task->n_told == task->held.size / sizeof(struct held)) {
        task->held.size = task->held_texts.size = 0;
        task->n_told = 0;
    }
    return LB_OK;
}

size_t lb_lua_task_held_bytes(const struct lb_lua_task *task)
{
    return task->held.capacity + task->held_texts.capacity;
}

/* Rows */

struct reading {
    struct lb_lua_task *task;
    int slot;
    int param;
};

static int l_task_read(lua_State *L)
{
    struct reading *reading = lua_touserdata(L, 1);
    lb_lua_task_push(reading->task, L, reading->slot);
    lb_lua_row_add_reader(&reading->task->row, L, 2, reading->param);
    return 0;
}

lb_status lb_lua_task_take_rows(struct lb_lua_task *task, const struct lb_value *params, int slot,
                                int param, struct lb_error *err)
{
    LB_TRY(lb_lua_row_init(&task->row, task->lua, params, "names", task->label, err));
    if (!lb_lua_row_is_on(&task->row) || slot == 0)
        return LB_OK;
    struct reading reading = {task, slot, param};
    return lb_lua_task_run(task, l_task_read, &reading, err);
}

/* Running */

lb_status lb_lua_task_run(struct lb_lua_task *task, lua_CFunction body, void *state,
                          struct lb_error *err)
{
    lua_State *L = task->lua->L;
    if (!lua_checkstack(L, 4))
        return lb_error_memory(err, "the Lua stack", 0);
    lua_pushcfunction(L, body);
    lua_pushlightuserdata(L, state);
    task->emitter.is_open = true;
    lb_status status = lb_lua_call(task->lua, 1, 0, &task->place, err);
    task->emitter.is_open = false;
    if (status == LB_ERR_USER && task->keeps_calls && !task->emitter.has_failed)
        lb_lua_keep_call(task, err);
    if (task->rejected.size > 0 && status == LB_OK)
        status = lb_rejects_add(task->rejects, task->lua->worker, &task->rejected, err);
    return status;
}

struct turn {
    struct lb_lua_task *task;
    int slot;
};

static int l_task_begin(lua_State *L)
{
    struct turn *turn = lua_touserdata(L, 1);
    struct lb_lua_task *task = turn->task;
    struct lb_worker *worker = task->lua->worker;
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)worker->morsel + 1);
    lua_setfield(L, 2, "index");
    const struct lb_attempts *attempts = worker->run->options.attempts;
    lua_pushinteger(L, attempts != NULL ? (lua_Integer)attempts->number : 1);
    lua_setfield(L, 2, "attempt");
    if (worker->input[0] != '\0') {
        lua_pushstring(L, worker->input);
        lua_setfield(L, 2, "input");
    }
    lua_pushvalue(L, 2);
    lb_lua_task_set(task, L, LB_SLOT_TABLE);
    lb_lua_task_push(task, L, turn->slot);
    if (lua_isnil(L, -1))
        return 0;
    lua_pushvalue(L, 2);
    lb_lua_task_call_strictly(task, L, 1, 0);
    return 0;
}

lb_status lb_lua_task_begin(struct lb_lua_task *task, int init, struct lb_error *err)
{
    struct turn turn = {task, init};
    lb_emitter_reset(&task->emitter);
    task->place = (struct lb_lua_place){.label = task->label};
    lb_lua_noted_begin(&task->noted);
    task->is_beginning = true;
    lb_status status = lb_lua_task_run(task, l_task_begin, &turn, err);
    task->is_beginning = false;
    return status;
}

static int l_task_finish(lua_State *L)
{
    struct turn *turn = lua_touserdata(L, 1);
    lb_lua_task_push(turn->task, L, turn->slot);
    if (lua_isnil(L, -1))
        return 0;
    lb_lua_task_push(turn->task, L, LB_SLOT_EMIT);
    lb_lua_task_push(turn->task, L, LB_SLOT_TABLE);
    lb_lua_task_call_strictly(turn->task, L, 2, 0);
    return 0;
}

lb_status lb_lua_task_finish(struct lb_lua_task *task, int final, struct lb_error *err)
{
    struct turn turn = {task, final};
    task->place = (struct lb_lua_place){.label = task->label};
    task->emitter.parent = NULL;
    task->is_ending = true;
    lb_status status = lb_lua_task_run(task, l_task_finish, &turn, err);
    task->is_ending = false;
    LB_TRY(status);
    return lb_emitter_flush(&task->emitter, err);
}
