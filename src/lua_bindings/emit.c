/* The emitter (see emit.h). */
#include "lua_bindings/emit.h"

#include "lua_bindings/compat.h"
#include "lua_bindings/values.h"

#ifdef LB_TINY
enum { FLUSH_BYTES = 256 };
#else
enum { FLUSH_BYTES = 1 << 20 };
#endif

#define LIKELY(x) __builtin_expect(!!(x), 1)

/* The Lua types that land in a column without being encoded. */
enum { SCALARS = 1u << LUA_TNIL | 1u << LUA_TBOOLEAN | 1u << LUA_TNUMBER | 1u << LUA_TSTRING };

void lb_emitter_init(struct lb_emitter *e, struct lb_lua_worker *lua, struct lb_op_local *next)
{
    memset(e, 0, offsetof(struct lb_emitter, err));
    e->err.status = LB_OK;
    e->err.message[0] = '\0';
    e->lua = lua;
    e->next = next;
    lb_batch_builder_init(&e->out);
}

void lb_emitter_fini(struct lb_emitter *e)
{
    lb_batch_builder_fini(&e->out);
    lb_buf_fini(&e->scratch);
}

void lb_emitter_reset(struct lb_emitter *e)
{
    lb_batch_builder_reset(&e->out);
    e->held_bytes = 0;
    e->has_failed = false;
}

int lb_emitter_throw(struct lb_emitter *e, lb_status status)
{
    e->err.status = status;
    e->has_failed = true;
    e->is_open = false; /* user code that catches the error shall not go on */
    return lb_lua_throw(e->lua, &e->err);
}

lb_status lb_emitter_flush(struct lb_emitter *e, struct lb_error *err)
{
    if (e->out.n_rows == 0)
        return LB_OK;
    const struct lb_batch *batch = lb_batch_builder_finish(&e->out, e->parent);
    bool was_open = e->is_open;
    e->is_open = false;
    lb_status status = lb_push(e->next, batch, err);
    e->is_open = was_open;
    lb_batch_builder_reset(&e->out);
    e->held_bytes = 0;
    return status;
}

/* Operators further down use lua->L: for the time of the push that is the running thread. */
static void flush_from_lua(struct lb_emitter *e, lua_State *L)
{
    lua_State *outer = e->lua->L;
    e->lua->L = L;
    bool is_timed = lb_lua_guard_pause(e->lua);
    lb_status status = lb_emitter_flush(e, &e->err);
    lb_lua_guard_resume(e->lua, is_timed);
    e->lua->L = outer;
    if (status != LB_OK)
        lb_emitter_throw(e, status);
}

/* The two appends that matter most; they do what lb_builder_int and lb_builder_string do in the
 * usual case. */

static inline void end_value(struct lb_builder *b)
{
    if (!LIKELY(b->n_nulls == 0))
        b->valid[b->n_rows >> 6] |= UINT64_C(1) << (b->n_rows & 63);
    b->n_rows++;
}

static inline lb_status append_int(struct lb_builder *b, int64_t value, struct lb_error *err)
{
    if (!LIKELY(b->type == LB_INT64 && b->n_rows < b->capacity))
        return lb_builder_int(b, value, err);
    ((int64_t *)b->data)[b->n_rows] = value;
    end_value(b);
    return LB_OK;
}

static inline lb_status append_string(struct lb_builder *b, const char *data, size_t size,
                                      struct lb_error *err)
{
    if (!LIKELY(size <= LB_VIEW_INLINE && b->type == LB_STRING && b->n_rows < b->capacity))
        return lb_builder_string(b, data, size, err);
    lb_view_set((struct lb_view *)b->data + b->n_rows, data, size);
    end_value(b);
    return LB_OK;
}

static inline lb_status append_scalar(struct lb_emitter *e, lua_State *L, int index, int type,
                                      struct lb_builder *b)
{
    if (type == LUA_TSTRING) {
        size_t size;
        const char *data = lua_tolstring(L, index, &size);
        e->held_bytes += size;
        return append_string(b, data, size, &e->err);
    }
    if (type == LUA_TNUMBER) {
        if (lua_isinteger(L, index))
            return append_int(b, lua_tointeger(L, index), &e->err);
        return lb_builder_float(b, lua_tonumber(L, index), &e->err);
    }
    if (type == LUA_TBOOLEAN)
        return lb_builder_bool(b, lua_toboolean(L, index), &e->err);
    return lb_builder_null(b, &e->err);
}

/* The builder of column i of the record being made. */
static inline lb_status find_column(struct lb_emitter *e, uint32_t i, struct lb_builder **column)
{
    if (LIKELY(i < e->out.n_columns)) {
        *column = &e->out.builders[i];
        return LB_OK;
    }
    return lb_batch_builder_column(&e->out, i, column, &e->err);
}

/* The parent's column 0: its strings live as long as its batch, which outlives ours. */
static lb_status append_key(struct lb_emitter *e)
{
    const struct lb_column *key = &e->parent->columns[0];
    uint32_t row = e->parent_row;
    struct lb_builder *b;
    LB_TRY(find_column(e, 0, &b));
    if (!lb_column_is_valid(key, row))
        return lb_builder_null(b, &e->err);
    if (key->type == LB_STRING) {
        const struct lb_view *view = &key->views[row];
        return lb_builder_view(b, lb_view_data(view), view->size, &e->err);
    }
    if (key->type == LB_INT64)
        return append_int(b, key->ints[row], &e->err);
    return lb_builder_column(b, key, row, &e->err);
}

/* Encodes the values of a record that are no scalars, in order, into e->scratch. */
static bool encode_tables(struct lb_emitter *e, lua_State *L, int first, int n,
                          const unsigned char *types)
{
    e->scratch.size = 0;
    for (int i = 0; i < n; i++) {
        if (SCALARS >> types[i] & 1)
            continue;
        const char *what = i == 0 && n > 1 && !e->keeps_key ? "key" : "value";
        lb_status status = lb_lua_encode(L, first + i, what, &e->scratch, &e->err);
        if (status == LB_ERR_USER)
            return false;
        if (status != LB_OK)
            lb_emitter_throw(e, status);
    }
    return true;
}

/* Ends a row that has got n_values. */
static inline lb_status end_row(struct lb_emitter *e, uint32_t n_values)
{
    struct lb_batch_builder *out = &e->out;
    if (LIKELY(n_values == out->n_columns)) {
        if (!out->has_parents && e->parent_row == out->n_rows) {
            out->n_rows++;
            return LB_OK;
        }
        if (LIKELY(out->has_parents && out->n_rows < out->parent_capacity)) {
            out->parent_rows[out->n_rows++] = e->parent_row;
            return LB_OK;
        }
    }
    return lb_batch_builder_end_row(out, e->parent_row, &e->err);
}

static lb_status append_values(struct lb_emitter *e, lua_State *L, int first, int n,
                               const unsigned char *types)
{
    uint32_t column = 0;
    if (e->keeps_key) {
        LB_TRY(append_key(e));
        column = 1;
    }
    const char *encoded = e->scratch.data;
    for (int i = 0; i < n; i++, column++) {
        struct lb_builder *b;
        LB_TRY(find_column(e, column, &b));
        if (LIKELY(SCALARS >> types[i] & 1)) {
            LB_TRY(append_scalar(e, L, first + i, types[i], b));
        } else {
            size_t size = lb_codec_size(encoded);
            LB_TRY(lb_builder_encoded(b, encoded, size, &e->err));
            encoded += size;
            e->held_bytes += size;
        }
    }
    return end_row(e, column);
}

bool lb_emitter_add(struct lb_emitter *e, lua_State *L, int first, int n)
{
    unsigned char types[LB_MAX_COLUMNS];
    int most = LB_MAX_COLUMNS - e->keeps_key;
    if (n > most) {
        lb_error_set(&e->err, LB_ERR_USER, "%d values in one record (at most %d are possible)", n,
                     most);
        return false;
    }
    unsigned seen = 0;
    for (int i = 0; i < n; i++) {
        int type = lua_type(L, first + i);
        types[i] = (unsigned char)type;
        seen |= 1u << type;
    }
    if (!LIKELY((seen & ~(unsigned)SCALARS) == 0) && !encode_tables(e, L, first, n, types))
        return false;
    if (!LIKELY(lb_batch_builder_fits(&e->out, (uint32_t)(n + e->keeps_key))))
        flush_from_lua(e, L);
    lb_status status = append_values(e, L, first, n, types);
    if (status != LB_OK)
        lb_emitter_throw(e, status);
    e->n_records++;
    if (lb_batch_builder_is_full(&e->out) || e->held_bytes >= FLUSH_BYTES)
        flush_from_lua(e, L);
    return true;
}

static int l_emit(lua_State *L)
{
    struct lb_emitter *e = lua_touserdata(L, lua_upvalueindex(1));
    if (!LIKELY(e != NULL && e->is_open))
        return luaL_error(L, "emit called outside its task");
    if (!LIKELY(lb_emitter_add(e, L, 1, lua_gettop(L))))
        return luaL_error(L, "emit: %s", e->err.message);
    return 0;
}

void lb_emitter_push_closure(struct lb_emitter *e, lua_State *L)
{
    lua_pushlightuserdata(L, e);
    lua_pushcclosure(L, l_emit, 1);
}

void lb_emitter_disarm(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    lua_pushnil(L);
    lua_setupvalue(L, index, 1);
}
