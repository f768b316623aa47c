/* Calls into user code, and what becomes of its errors.
 *
 * IDEA   The message handler runs where the error was raised, with the user's frames still there. It
 *        writes message and traceback as text into the worker (no Lua memory is needed); lb_lua_call
 *        then adds what only it knows: operator, record, key.
 * STATES An error of the engine inside a call (a full disk below emit, say) is kept in `thrown`, and
 *        the marker unwinds; user code cannot keep it from arriving by catching the marker, because
 *        the hook raises it again and lb_lua_call looks at `thrown` in any case. */
#include <stdio.h>
#include <string.h>

#include "core/base/meter.h"
#include "core/base/utf8.h"
#include "core/io/format.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/values.h"
#include "lua_bindings/worker_private.h"

enum { MAX_TRACE_LINES = 20, MAX_RECORD_BYTES = 1000, MAX_KEY_BYTES = 300 };

/* Appends to text of `size` bytes, NUL-terminated; what does not fit is cut. */
LB_PRINTF(3, 4) static void append(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

/* The library's own Lua code, by the names that its chunks have inside the program. */
static bool is_of_library(const lua_Debug *ar)
{
    return strncmp(ar->source, "=[luabatch]", 11) == 0;
}

/* Appends a line on the active function to text; nothing for the engine's own functions. */
static void describe_function(lua_State *L, lua_Debug *ar, char *text, size_t size)
{
    lua_getinfo(L, LB_LUAJIT ? "Sln" : "Slnt", ar);
    bool is_c = strcmp(ar->what, "C") == 0;
    bool is_known = strcmp(ar->namewhat, "global") == 0 || strcmp(ar->namewhat, "method") == 0 ||
                    strcmp(ar->namewhat, "field") == 0;
    if ((is_c && !is_known) || is_of_library(ar))
        return;
    append(text, size, "\n    ");
    if (is_c)
        append(text, size, "[C]: ");
    else if (ar->currentline > 0)
        append(text, size, "%s:%d: ", ar->short_src, ar->currentline);
    else
        append(text, size, "%s: ", ar->short_src);
    if (strcmp(ar->what, "main") == 0)
        append(text, size, "in main chunk");
    else if (*ar->namewhat != '\0' && ar->name != NULL && strcmp(ar->name, "?") != 0)
        append(text, size, "in %s '%s'", is_known ? "function" : ar->namewhat, ar->name);
    else
        append(text, size, "in function <%s:%d>", ar->short_src, ar->linedefined);
    if (lb_lua_is_tail_call(ar))
        append(text, size, "\n    (...tail calls...)");
}

/* The frames from `first` (0: the running function, which is the message handler after an error) to the boundary of the
 * innermost lb_lua_call. */
static void trace(lua_State *L, int first, const void *boundary, char *text, size_t size)
{
    lua_Debug ar;
    text[0] = '\0';
    for (int level = first; lua_getstack(L, level, &ar) && lb_lua_activation(&ar) != boundary;
         level++) {
        if (level >= first + MAX_TRACE_LINES) {
            append(text, size, "\n    ...");
            return;
        }
        describe_function(L, &ar, text, size);
    }
}

static int l_tostring(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    return 1;
}

/* A table as Lua would write it; LB_ERR_USER: it is not one of plain values. */
static lb_status read_table(lua_State *L, int index, char *text, size_t size, struct lb_error *err)
{
    struct lb_buf encoded = {0}, written = {0};
    lb_status status = lb_lua_encode(L, index, "error", &encoded, err);
    if (status == LB_OK)
        status = lb_format_encoded(LB_FORMAT_LUA, encoded.data, encoded.size, &written, err);
    if (status == LB_OK)
        snprintf(text, size, "%.*s", (int)lb_utf8_cut(written.data, written.size, size - 1),
                 written.data);
    lb_buf_fini(&encoded);
    lb_buf_fini(&written);
    return status;
}

/* The string at index for a terminal: control characters as escapes, further lines indented, so that none looks like one of
 * ours; what does not fit is cut. */
static void read_string(lua_State *L, int index, char *text, size_t size)
{
    enum { LONGEST = 8 };
    static const char dots[] = "...";
    size_t n, used = 0;
    const unsigned char *data = (const unsigned char *)lua_tolstring(L, index, &n);
    for (size_t i = 0; i < n; i++) {
        if (used + LONGEST + sizeof dots > size) {
            memcpy(text + lb_utf8_whole(text, used), dots, sizeof dots);
            return;
        }
        bool is_c1 = data[i] == 0xc2 && i + 1 < n && data[i + 1] >= 0x80 && data[i + 1] < 0xa0;
        if (data[i] == '\n')
            used += (size_t)snprintf(text + used, LONGEST, "\n    ");
        else if (is_c1 || data[i] == 0x7f || (data[i] < 0x20 && data[i] != '\t'))
            used += (size_t)snprintf(text + used, LONGEST, "\\x%02x", data[i]);
        else
            text[used++] = (char)data[i];
    }
    text[used] = '\0';
}

static lb_status memory_error(const struct lb_lua_worker_private *p,
                              const struct lb_lua_place *place, struct lb_error *err);

/* The text of an error value. __tostring may fail in its turn; memory that ends here is not an error of the user's. */
static lb_status error_text(struct lb_lua_worker_private *p, lua_State *L, int index, char *text,
                            size_t size, struct lb_error *err)
{
    if (lua_type(L, index) == LUA_TSTRING) {
        read_string(L, index, text, size);
        return LB_OK;
    }
    bool has_tostring = luaL_getmetafield(L, index, "__tostring") != LUA_TNIL;
    if (has_tostring)
        lua_pop(L, 1);
    if (!has_tostring && !lua_isnil(L, index) && !lua_isnumber(L, index) &&
        !lua_isboolean(L, index)) {
        lb_status status = LB_ERR_USER;
        if (lua_istable(L, index))
            status = read_table(L, index, text, size, err);
        if (status == LB_ERR_USER)
            snprintf(text, size, "(error object is a %s value)", luaL_typename(L, index));
        return status == LB_ERR_USER ? LB_OK : status;
    }
    lua_pushcfunction(L, l_tostring);
    lua_pushvalue(L, index);
    int lua_status = lua_pcall(L, 1, 1, 0);
    if (lua_status == LUA_ERRMEM)
        return memory_error(p, p->frame != NULL ? p->frame->place : NULL, err);
    if (lua_status == LUA_OK && lua_type(L, -1) == LUA_TSTRING)
        read_string(L, -1, text, size);
    else
        snprintf(text, size, "(error object is a %s value whose __tostring fails)",
                 luaL_typename(L, index));
    lua_pop(L, 1);
    return LB_OK;
}

/* What is under way comes to this error, if not to one before it, whatever user code does. Returns where it runs. */
static lua_State *stop_with(struct lb_lua_worker_private *p, const struct lb_error *err)
{
    lua_State *L = p->running != NULL ? p->running : p->public.L;
    if (!p->has_thrown) {
        p->thrown = *err;
        p->has_thrown = true;
    }
    lb_lua_hook(L);
    return L;
}

/* Of handlers, with the error value at 1: reads its text. False: there is another reason to stop, if only since its __tostring
 * was called, and the marker is on top for the error value. */
static bool read_error(struct lb_lua_worker_private *p, lua_State *L)
{
    struct lb_error err;
    if (lb_lua_is_marker(L, 1) || lb_lua_is_stopping(p)) {
        lua_settop(L, 1);
        return false;
    }
    lb_status status = error_text(p, L, 1, p->failure.message, sizeof p->failure.message, &err);
    if (status != LB_OK)
        stop_with(p, &err);
    if (lb_lua_is_late(p)) { /* what was told of that is overwritten */
        p->told_call = 0;
        lb_lua_tell_late(p, L);
    }
    if (!lb_lua_is_stopping(p))
        return true;
    lb_lua_push_marker(L);
    return false;
}

static int l_message_handler(lua_State *L)
{
    struct lb_lua_worker_private *p = lb_lua_private_of(L);
    struct lb_lua_failure *failure = &p->failure;
    if (!read_error(p, L))
        return 1;
    failure->is_set = true;
    failure->is_guards = false;
    failure->is_memory = strstr(failure->message, "not enough memory") != NULL;
    if (!failure->has_trace)
        trace(L, 1, p->frame != NULL ? p->frame->boundary : NULL, failure->traceback,
              sizeof failure->traceback);
    failure->has_trace = false;
    return 1;
}

void lb_lua_keep_trace(struct lb_lua_worker *lua, lua_State *co)
{
    struct lb_lua_failure *failure = &lua->private->failure;
    trace(co, 0, NULL, failure->traceback, sizeof failure->traceback);
    failure->has_trace = true;
}

/* The line of user code that is active, or was when an error was raised, as "job.lua:7". */
static void find_place(lua_State *L, const void *boundary, char *place, size_t size)
{
    lua_Debug ar;
    place[0] = '\0';
    for (int level = 0; lua_getstack(L, level, &ar) && lb_lua_activation(&ar) != boundary;
         level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0 && !is_of_library(&ar)) {
            snprintf(place, size, "%s:%d", ar.short_src, ar.currentline);
            return;
        }
    }
}

/* Guards. */

static int l_guard_handler(lua_State *L)
{
    struct lb_lua_worker_private *p = lb_lua_private_of(L);
    struct lb_lua_failure *failure = &p->failure;
    if (!read_error(p, L))
        return 1;
    find_place(L, p->frame != NULL ? p->frame->boundary : NULL, failure->place,
               sizeof failure->place);
    failure->is_guards = true;
    return 1;
}

void lb_lua_tell_late(struct lb_lua_worker_private *p, lua_State *L)
{
    struct lb_lua_failure *failure = &p->failure;
    const void *boundary = p->frame != NULL ? p->frame->boundary : NULL;
    uint64_t call = atomic_load(&p->call);
    if (p->told_call == call) /* user code went on */
        return;
    p->told_call = call;
    find_place(L, boundary, failure->place, sizeof failure->place);
    const struct lb_run_options *options = &p->public.worker->run->options;
    char limit[100];
    if (p->spent_call == call)
        snprintf(limit, sizeof limit,
                 "executed more than %llu instructions for one record (--max-instructions)",
                 (unsigned long long)options->max_instructions);
    else
        snprintf(limit, sizeof limit, "took more than %g s for one record (--record-timeout)",
                 (double)options->record_timeout_ns / 1e9);
    snprintf(failure->message, sizeof failure->message, "%s%sthe function %s", failure->place,
             failure->place[0] != '\0' ? ": " : "", limit);
    trace(L, 0, boundary, failure->traceback, sizeof failure->traceback);
}

/* L: where the call runs. */
static void start_time(struct lb_lua_worker_private *p, lua_State *L)
{
    if (p->public.worker->run->options.record_timeout_ns == 0 && !lb_lua_counts(p))
        return;
    atomic_fetch_add(&p->call, 1);
    if (lb_lua_counts(p))
        lb_lua_count(p, L);
    lb_lua_halt_if_given_up(p, atomic_exchange(&p->call_start_ns, lb_clock_ns()));
}

/* Whether it was late. */
static bool stop_time(struct lb_lua_worker_private *p)
{
    bool is_late = lb_lua_is_late(p);
    lb_lua_halt_if_given_up(p, atomic_exchange(&p->call_start_ns, 0));
    return is_late;
}

bool lb_lua_guard_pause(struct lb_lua_worker *lua)
{
    struct lb_lua_worker_private *p = lua->private;
    if (atomic_load_explicit(&p->call_start_ns, memory_order_relaxed) == 0 || lb_lua_is_late(p))
        return false;
    atomic_store(&p->call_start_ns, 0);
    return true;
}

void lb_lua_guard_resume(struct lb_lua_worker *lua, bool was_running)
{
    if (was_running)
        start_time(lua->private, lua->private->running != NULL ? lua->private->running : lua->L);
}

void lb_lua_guard_begin(struct lb_lua_guard *guard, struct lb_lua_worker *lua, lua_State *L,
                        bool handles)
{
    struct lb_lua_worker_private *p = lua->private;
    guard->handles = handles;
    if (handles) {
        p->failure.is_guards = false;
        lua_pushcfunction(L, l_guard_handler);
        lua_insert(L, guard->function);
    }
    start_time(p, L);
}

enum lb_lua_outcome lb_lua_guard_end(struct lb_lua_guard *guard, struct lb_lua_worker *lua,
                                     lua_State *L, int status)
{
    struct lb_lua_worker_private *p = lua->private;
    if (!guard->handles && lb_lua_is_late(p)) {
        lb_lua_push_marker(L); /* to lb_lua_call */
        lua_error(L);
    }
    if (stop_time(p)) {
        if (!p->has_thrown && !atomic_load(&p->interrupted))
            lua_sethook(L, NULL, 0, 0);
        if (p->told_call != atomic_load(&p->call)) /* no hook has met it */
            lb_lua_tell_late(p, L);
        p->failure.is_guards = true;
        return LB_CALL_LATE;
    }
    if (guard->handles && status == LUA_OK)
        lua_remove(L, guard->function);
    else if (guard->handles && !lb_lua_is_stopping(p) && lua_gethook(L) != NULL)
        lua_sethook(L, NULL, 0,
                    0); /* one that the user's function has left must not meet the next record */
    return LB_CALL_ENDED;
}

const char *lb_lua_guard_kind(const struct lb_lua_worker *lua)
{
    const struct lb_lua_worker_private *p = lua->private;
    return p->spent_call == atomic_load(&p->call) ? "instructions" : "timeout";
}

void lb_lua_guard_tell(struct lb_lua_worker *lua, lua_State *L, int status, char *message,
                       size_t message_size, char *place, size_t place_size)
{
    struct lb_lua_failure *failure = &lua->private->failure;
    if (failure->is_guards) {
        size_t size = lb_utf8_cut(failure->message, strlen(failure->message), message_size - 1);
        snprintf(message, message_size, "%.*s", (int)size, failure->message);
        if (failure->place[0] != '\0')
            snprintf(place, place_size, "%s", failure->place);
        return;
    }
    /* The handler itself failed: out of stack. */
    bool is_told = status != LUA_ERRERR && lua_type(L, -1) == LUA_TSTRING;
    snprintf(message, message_size, "%s", is_told ? lua_tostring(L, -1) : "stack overflow");
}

/* Where the record comes from; after a shuffle, when that is not known, the record itself. */
static lb_status locate(const struct lb_lua_place *place, struct lb_buf *out)
{
    const struct lb_batch *batch = place->batch;
    struct lb_buf value = {0};
    LB_TRY(lb_batch_locate(batch, place->row, out, NULL));
    if (out->size > 0)
        return LB_OK;
    lb_status status = lb_buf_printf(out, NULL, "record ");
    for (uint32_t i = 0; status == LB_OK && i < batch->n_columns && out->size < MAX_RECORD_BYTES;
         i++) {
        value.size = 0;
        status = lb_codec_put_column(&value, &batch->columns[i], place->row, NULL);
        if (status == LB_OK && i > 0)
            status = lb_buf_append(out, ", ", 2, NULL);
        if (status == LB_OK)
            status = lb_format_encoded(LB_FORMAT_LUA, value.data, value.size, out, NULL);
    }
    lb_buf_fini(&value);
    return status;
}

/* Appends record or key; a failure of that (no memory) only makes the message shorter. */
static void append_record(const struct lb_lua_place *place, struct lb_buf *text)
{
    struct lb_buf detail = {0};
    if (place->key != NULL) {
        if (lb_format_encoded(LB_FORMAT_LUA, place->key, place->key_size, &detail, NULL) == LB_OK) {
            bool is_cut = detail.size > MAX_KEY_BYTES;
            int size = (int)lb_utf8_cut(detail.data, detail.size, MAX_KEY_BYTES);
            lb_status status =
                lb_buf_printf(text, NULL, "\n  key %.*s%s", size, detail.data, is_cut ? "..." : "");
            if (status == LB_OK && place->position > 0)
                status = lb_buf_printf(text, NULL, ", value %llu of its group",
                                       (unsigned long long)place->position);
            (void)status;
        }
    } else if (place->batch != NULL) {
        if (locate(place, &detail) == LB_OK && detail.size > 0) {
            bool is_cut = detail.size > MAX_RECORD_BYTES;
            int size = (int)lb_utf8_cut(detail.data, detail.size, MAX_RECORD_BYTES);
            lb_status status =
                lb_buf_printf(text, NULL, "\n  %.*s%s", size, detail.data, is_cut ? "..." : "");
            (void)status;
        }
    }
    lb_buf_fini(&detail);
}

/* And before it the operator. */
static void append_place(const struct lb_lua_place *place, struct lb_buf *text)
{
    if (place->label == NULL || lb_buf_printf(text, NULL, "\n  in %s", place->label) == LB_OK)
        append_record(place, text);
}

/* The C function that does not return, as user code calls it. */
static void find_c_function(lua_State *L, char *name, size_t size)
{
    lua_Debug ar;
    name[0] = '\0';
    if (!lua_getstack(L, 0, &ar) || !lua_getinfo(L, "Sn", &ar) || strcmp(ar.what, "C") != 0)
        return;
    snprintf(name, size, "%s", ar.name != NULL ? ar.name : "a C function");
}

void lb_lua_tell_stuck(struct lb_lua_worker_private *p, struct lb_error *err)
{
    char place[LB_PLACE_BYTES] = "", name[64] = "";
    const struct lb_lua_frame *frame = p->frame;
    if (p->running != NULL) {
        find_place(p->running, frame != NULL ? frame->boundary : NULL, place, sizeof place);
        find_c_function(p->running, name, sizeof name);
    }
    struct lb_buf text = {0};
    lb_status status = lb_buf_printf(&text, NULL,
                                     "%s%sthe function took more than %g s for one record "
                                     "(--record-timeout) and cannot be stopped%s%s%s",
                                     place, place[0] != '\0' ? ": " : "",
                                     (double)p->public.worker->run->options.record_timeout_ns / 1e9,
                                     name[0] != '\0' ? ", as '" : "", name,
                                     name[0] != '\0' ? "' does not return" : "");
    if (status == LB_OK && frame != NULL && frame->place != NULL)
        append_place(frame->place, &text);
    lb_error_set(err, LB_ERR_USER, "%.*s", (int)text.size, text.size > 0 ? text.data : "");
    lb_buf_fini(&text);
}

static lb_status memory_error(const struct lb_lua_worker_private *p,
                              const struct lb_lua_place *place, struct lb_error *err)
{
    const struct lb_lua_worker *lua = &p->public;
    const struct lb_run *run = lua->worker->run;
    lb_error_set(err, LB_ERR_RESOURCE,
                 "%s: the Lua heap of a worker needs more memory: it has %.1f MiB and asks for "
                 "%.1f MiB more (the memory limit is %.1f MiB for all of %u threads; see "
                 "--memory)",
                 place != NULL && place->label != NULL ? place->label : "Lua",
                 (double)lua->heap_bytes / 1048576,
                 (double)lb_lua_heap_refused_bytes(p->heap) / 1048576,
                 (double)run->options.memory_bytes / 1048576, (unsigned)run->options.n_threads);
    struct lb_buf text = {0};
    if (place != NULL && lb_buf_printf(&text, NULL, "%s", err->message) == LB_OK) {
        append_record(place, &text);
        lb_error_set(err, LB_ERR_RESOURCE, "%.*s", (int)text.size, text.data);
    }
    lb_buf_fini(&text);
    return LB_ERR_RESOURCE;
}

/* The error of a failed call: its Lua error value is on top. */
static lb_status tell(struct lb_lua_worker_private *p, int lua_status,
                      const struct lb_lua_place *place, struct lb_error *err)
{
    lua_State *L = p->public.L;
    struct lb_lua_failure *failure = &p->failure;
    if (lua_status == LUA_ERRMEM || (failure->is_set && failure->is_memory)) {
        failure->is_set = false;
        return memory_error(p, place, err);
    }
    if (!failure->is_set) { /* the handler itself failed: out of stack */
        bool is_told = lua_status != LUA_ERRERR && lua_type(L, -1) == LUA_TSTRING;
        const char *message = is_told ? lua_tostring(L, -1) : "stack overflow";
        snprintf(failure->message, sizeof failure->message, "%s", message);
        failure->traceback[0] = '\0';
    }
    failure->is_set = false;
    struct lb_buf text = {0};
    lb_status status = lb_buf_printf(&text, NULL, "%s", failure->message);
    if (status == LB_OK && place != NULL)
        append_place(place, &text);
    if (status == LB_OK && failure->traceback[0] != '\0')
        status = lb_buf_printf(&text, NULL, "\n  stack traceback:%s", failure->traceback);
    lb_error_set(err, LB_ERR_USER, "%.*s", (int)text.size, text.size > 0 ? text.data : "");
    if (text.size == 0) /* no memory for the long form */
        lb_error_set(err, LB_ERR_USER, "%s", failure->message);
    lb_buf_fini(&text);
    return LB_ERR_USER;
}

/* What a call that did not end well, or must not seem so, comes to. Error value or results lie
 * above `base`. */
static lb_status fail(struct lb_lua_worker_private *p, int lua_status,
                      const struct lb_lua_place *place, struct lb_error *err)
{
    lua_State *L = p->public.L;
    bool is_interrupted = atomic_load(&p->interrupted);
    if (p->has_thrown) {
        p->has_thrown = false;
        if (!is_interrupted)
            lua_sethook(L, NULL, 0, 0);
        *err = p->thrown;
        return err->status;
    }
    if (is_interrupted)
        return lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
    if (stop_time(p)) {
        lua_sethook(L, NULL, 0, 0);
        if (p->told_call != atomic_load(&p->call))
            lb_lua_tell_late(p, L);
        p->failure.is_set = true;
        p->failure.is_memory = false;
    }
    return tell(p, lua_status, place, err);
}

lb_status lb_lua_call(struct lb_lua_worker *lua, int n_args, int n_results,
                      const struct lb_lua_place *place, struct lb_error *err)
{
    struct lb_lua_worker_private *p = lua->private;
    lua_State *L = lua->L;
    int base = lua_gettop(L) - n_args; /* where the function is, and the handler will be */
    if (!lua_checkstack(L, 2)) {
        lua_settop(L, base - 1);
        return memory_error(p, place, err);
    }
    lua_Debug ar;
    struct lb_lua_frame frame = {.outer = p->frame,
                                 .boundary =
                                     lua_getstack(L, 0, &ar) ? lb_lua_activation(&ar) : NULL,
                                 .place = place};
    lua_State *before = p->running;
    p->running = L;
    p->frame = &frame;
    bool is_inside = lb_lua_guard_pause(lua);
    uint64_t instructions_left = p->instructions_left;
    int status = LUA_OK;
    bool may_start = !atomic_load(&p->interrupted) && atomic_load(&lua->worker->run->stop) == 0;
    if (may_start) {
        lua_pushcfunction(L, l_message_handler);
        lua_insert(L, base);
        struct lb_meter_place metered = lb_meter_enter(NULL, LB_TIME_LUA);
        status = lua_pcall(L, n_args, n_results, base);
        lb_meter_leave(metered);
    }
    p->frame = frame.outer;
    p->running = before;
    if (__builtin_expect(status == LUA_OK && may_start && !lb_lua_is_stopping(p), 1)) {
        lua_remove(L, base);
        lb_lua_tune_collector(p);
        lb_lua_guard_resume(lua, is_inside);
        p->instructions_left = instructions_left;
        return LB_OK;
    }
    lb_status failed =
        may_start ? fail(p, status, place, err) : lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
    stop_time(p);
    lua_settop(L, base - 1);
    return failed;
}

int lb_lua_throw(struct lb_lua_worker *lua, const struct lb_error *err)
{
    lua_State *L = stop_with(lua->private, err);
    lb_lua_push_marker(L);
    return lua_error(L);
}
