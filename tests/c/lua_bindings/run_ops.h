/* What the tests of the Lua operators share: runs stages of hand-made operators on real workers,
 * driven from Lua.
 *
 *   run{ threads = 2, memory = bytes,
 *        morsels = { { {record...}, ... }, ... },
 *        sparse = true,                         -- batches have rows between that are not selected
 *        stages = { { {op = "lua.map", fn = f}, ..., sink = {op = "sort", ...} }, { {op =
 *        "lua.groups", fn = f} } } }
 *
 * The first stage begins with a source that gives the morsels; a later one with a source on the
 * sink before it. A stage without sink ends in a collector, whose records run returns by morsel: {
 * { {record...}, ... }, ... }. The collector takes fail_at (the n-th record fails) and enough
 * (records it wants of a morsel). A failed run returns nil, message, status. */
#ifndef LB_TESTS_RUN_OPS_H
#define LB_TESTS_RUN_OPS_H

#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>

#include "../support/support.h"
#include "core/exec/run.h"
#include "core/ops/skips.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/ship.h"
#include "lua_bindings/values.h"
#include "lua_bindings/worker.h"
#include "luabatch.h"

enum { MAX_OPS = 8, MAX_STAGES = 3, MAX_MORSELS = 256 };

/* ---- the source: morsels from memory ---- */

struct test_input {
    struct lb_buf morsels[MAX_MORSELS]; /* encoded lists of lists */
    uint32_t n_morsels;
    uint32_t next;
    bool sparse;
};
/* Records that runs have left out since take_skipped was called, and of the last run what is told of them, encoded. */
static uint64_t test_skipped;
static struct lb_buf test_skips;

static struct test_input test_input;

struct test_source {
    uint32_t morsel;
    struct lb_batch_builder builder;
    uint32_t select[LB_BATCH_ROWS];
};

static lb_status test_source_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct test_source *s = local->state = lb_alloc_zero(sizeof *s);
    if (s == NULL)
        return lb_error_memory(err, "test source", sizeof *s);
    lb_batch_builder_init(&s->builder);
    return LB_OK;
}

static void test_source_detach(struct lb_op_local *local)
{
    struct test_source *s = local->state;
    lb_batch_builder_fini(&s->builder);
    lb_free(s, sizeof *s);
}

static lb_status test_source_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct test_source *s = local->state;
    *more = test_input.next < test_input.n_morsels;
    if (*more)
        s->morsel = test_input.next++;
    strcpy(local->worker->input, "input.txt");
    return LB_OK;
}

static lb_status test_locate(const struct lb_batch *batch, uint32_t row, struct lb_origin *origin,
                             struct lb_buf *out, struct lb_error *err)
{
    (void)origin;
    const uint64_t *first = batch->locate_state;
    if (out == NULL) /* only the origin is wanted: it is no file */
        return LB_OK;
    return lb_buf_printf(out, err, "record input.txt:%u",
                         (unsigned)(*first + (test_input.sparse ? row / 2 : row) + 1));
}

static lb_status test_source_push(struct lb_op_local *local, uint64_t first, struct lb_error *err)
{
    struct test_source *s = local->state;
    struct lb_batch batch = *lb_batch_builder_finish(&s->builder, NULL);
    if (test_input.sparse) {
        batch.n_selected = 0;
        batch.select = s->select;
        for (uint32_t row = 1; row < batch.n_rows; row += 2)
            s->select[batch.n_selected++] = row;
    }
    batch.locate = test_locate;
    batch.locate_state = &first;
    LB_TRY(lb_push(local->next, &batch, err));
    lb_batch_builder_reset(&s->builder);
    return LB_OK;
}

static lb_status test_source_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct test_source *s = local->state;
    lb_batch_builder_reset(&s->builder);
    const char *cursor = test_input.morsels[s->morsel].data;
    struct lb_value rows;
    lb_codec_next(&cursor, &rows);
    cursor = rows.data;
    uint64_t first = 0;
    for (uint32_t i = 0; i < rows.count; i++) {
        struct lb_value record;
        lb_codec_next(&cursor, &record);
        for (int copy = 0; copy <= test_input.sparse; copy++) {
            const char *value = record.data;
            for (uint32_t j = 0; j < record.count; j++) {
                struct lb_builder *b;
                size_t size = lb_codec_size(value);
                LB_TRY(lb_batch_builder_column(&s->builder, j, &b, err));
                LB_TRY(lb_builder_encoded(b, value, size, err));
                value += size;
            }
            LB_TRY(lb_batch_builder_end_row(&s->builder, s->builder.n_rows, err));
        }
        if (s->builder.n_rows + 2 > LB_BATCH_ROWS) {
            LB_TRY(test_source_push(local, first, err));
            first = i + 1;
        }
    }
    return s->builder.n_rows > 0 ? test_source_push(local, first, err) : LB_OK;
}

static const struct lb_op_class test_source_class = {
    .name = "test.source",
    .kind = LB_OP_SOURCE,
    .attach = test_source_attach,
    .claim = test_source_claim,
    .produce = test_source_produce,
    .detach = test_source_detach,
};

/* ---- the collector ---- */

struct test_output {
    pthread_mutex_t lock;
    struct lb_buf morsels[MAX_MORSELS];
    uint32_t counts[MAX_MORSELS];
    uint64_t n_records;
    int64_t fail_at;
    int64_t enough;
};
static struct test_output test_output = {.lock = PTHREAD_MUTEX_INITIALIZER};

static lb_status test_collect(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    uint64_t morsel = local->worker->morsel;
    struct test_output *out = &test_output;
    if (morsel >= MAX_MORSELS)
        return lb_error_set(err, LB_ERR_INTERNAL, "too many morsels");
    pthread_mutex_lock(&out->lock);
    lb_status status = LB_OK;
    for (uint32_t i = 0; i < batch->n_selected && status == LB_OK; i++) {
        size_t mark = 0;
        struct lb_buf *buf = &out->morsels[morsel];
        if (++out->n_records == (uint64_t)out->fail_at) {
            status = lb_error_set(err, LB_ERR_RESOURCE, "the disk is full");
            break;
        }
        if (out->enough >= 0 && out->counts[morsel] >= out->enough) {
            status = LB_ENOUGH;
            break;
        }
        status = lb_codec_begin(buf, 'l', &mark, err);
        for (uint32_t j = 0; j < batch->n_columns && status == LB_OK; j++)
            status = lb_codec_put_column(buf, &batch->columns[j], lb_batch_row(batch, i), err);
        lb_codec_end(buf, mark, batch->n_columns);
        out->counts[morsel]++;
    }
    pthread_mutex_unlock(&out->lock);
    return status;
}

static const struct lb_op_class test_collect_class = {
    .name = "test.collect", .kind = LB_OP_SINK, .push = test_collect};

/* ---- run ---- */

struct test_op {
    struct lb_op op;
    struct lb_buf params;
    char label[64];
    struct lb_op *input;
};

struct test_stage {
    struct test_op ops[MAX_OPS];
    struct lb_op *list[MAX_OPS];
    struct test_op sink;
    uint32_t n_ops;
};

/* The operator that the table on top describes; functions in it are shipped. */
static void make_op(lua_State *L, struct test_op *t)
{
    struct lb_error *err = lua_newuserdatauv(L, sizeof *err, 0);
    lua_newtable(L); /* the parameters */
    lua_pushnil(L);
    while (lua_next(L, -4) != 0) {
        if (lua_isfunction(L, -1)) {
            struct lb_buf bytes = {0};
            if (lb_lua_ship(L, -1, "the function", &bytes, err) != LB_OK)
                luaL_error(L, "%s", err->message);
            lua_pop(L, 1);
            lua_pushlstring(L, bytes.data, bytes.size);
            lb_buf_fini(&bytes);
        }
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_settable(L, -4);
    }
    if (lb_lua_encode(L, -1, "parameters", &t->params, err) != LB_OK)
        luaL_error(L, "%s", err->message);
    lua_getfield(L, -1, "op");
    const char *name = luaL_checkstring(L, -1);
    t->op.class = strcmp(name, "test.collect") == 0 ? &test_collect_class : lb_op_find(name);
    if (t->op.class == NULL)
        luaL_error(L, "no operator %s", name);
    snprintf(t->label, sizeof t->label, "%s", strchr(name, '.') ? strchr(name, '.') + 1 : name);
    t->op.label = t->label;
    const char *cursor = t->params.data;
    lb_codec_next(&cursor, &t->op.params);
    lua_pop(L, 3);
}

static void make_stage(lua_State *L, struct test_stage *stages, int number)
{
    struct test_stage *stage = &stages[number];
    if (number == 0) {
        stage->ops[0].op = (struct lb_op){.class = &test_source_class, .label = "source"};
        stage->list[stage->n_ops++] = &stage->ops[0].op;
    }
    lua_Integer n = luaL_len(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
        struct test_op *t = &stage->ops[stage->n_ops];
        lua_geti(L, -1, i);
        make_op(L, t);
        lua_pop(L, 1);
        if (number > 0 && i == 1) {
            t->input = &stages[number - 1].sink.op;
            t->op.inputs = &t->input;
            t->op.n_inputs = 1;
        }
        stage->list[stage->n_ops++] = &t->op;
    }
    if (lua_getfield(L, -1, "sink") == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushliteral(L, "test.collect");
        lua_setfield(L, -2, "op");
    }
    lua_getfield(L, -1, "fail_at");
    test_output.fail_at = luaL_optinteger(L, -1, -1);
    lua_getfield(L, -2, "enough");
    test_output.enough = luaL_optinteger(L, -1, -1);
    lua_pop(L, 2);
    make_op(L, &stage->sink);
    lua_pop(L, 1);
}

static void take_input(lua_State *L)
{
    struct lb_error *err = lua_newuserdatauv(L, sizeof *err, 0);
    lua_getfield(L, 1, "sparse");
    test_input.sparse = lua_toboolean(L, -1);
    lua_getfield(L, 1, "morsels");
    test_input.n_morsels = (uint32_t)luaL_len(L, -1);
    test_input.next = 0;
    for (uint32_t i = 0; i < test_input.n_morsels; i++) {
        lua_geti(L, -1, (lua_Integer)i + 1);
        test_input.morsels[i].size = 0;
        if (lb_lua_encode(L, -1, "morsel", &test_input.morsels[i], err) != LB_OK)
            luaL_error(L, "%s", err->message);
        lua_pop(L, 1);
    }
    lua_pop(L, 3);
    for (uint32_t i = 0; i < MAX_MORSELS; i++) {
        test_output.morsels[i].size = 0;
        test_output.counts[i] = 0;
    }
    test_output.n_records = 0;
}

static void push_output(lua_State *L)
{
    lua_newtable(L);
    uint32_t n = MAX_MORSELS;
    while (n > 0 && test_output.counts[n - 1] == 0)
        n--;
    for (uint32_t i = 0; i < n; i++) {
        const char *cursor = test_output.morsels[i].data;
        lua_newtable(L);
        for (uint32_t j = 0; j < test_output.counts[i]; j++) {
            lb_lua_push_next(L, &cursor);
            lua_rawseti(L, -2, (lua_Integer)j + 1);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static lb_status run_stages(lua_State *L, struct test_stage *stages, int n_stages,
                            struct lb_error *err)
{
    struct lb_run_options options = {.tmp_dir = "/tmp"};
    lua_getfield(L, 1, "threads");
    options.n_threads = (uint32_t)luaL_optinteger(L, -1, 1);
    lua_getfield(L, 1, "memory");
    options.memory_bytes = (size_t)luaL_optinteger(L, -1, 256 << 20);
    lua_pop(L, 2);
    LB_TRY(lb_lua_host_init(L, &options.host, NULL, err));
    struct lb_run *run = NULL;
    lb_status status = lb_run_new(&options, &run, err);
    for (int i = 0; i < n_stages && status == LB_OK; i++) {
        struct lb_leg leg = {.ops = stages[i].list, .n_ops = stages[i].n_ops};
        struct lb_stage stage = {.legs = &leg, .n_legs = 1, .sink = &stages[i].sink.op};
        status = lb_run_stage(run, &stage, err);
    }
    for (int i = 0; i < n_stages; i++) {
        lb_op_close(&stages[i].sink.op);
        lb_buf_fini(&stages[i].sink.op.facts);
        for (uint32_t j = 0; j < stages[i].n_ops; j++)
            lb_buf_fini(&stages[i].list[j]->facts);
    }
    if (status == LB_OK) {
        test_skipped += atomic_load(&run->n_skipped);
        test_skips.size = 0;
        assert_int_equal(lb_skips_tell(run, &test_skips, err), LB_OK);
    }
    lb_run_delete(run);
    lb_lua_host_fini(&options.host);
    return status;
}

static int l_run(lua_State *L)
{
    struct test_stage *stages = lua_newuserdatauv(L, MAX_STAGES * sizeof *stages, 0);
    struct lb_error *err = lua_newuserdatauv(L, sizeof *err, 0);
    memset(stages, 0, MAX_STAGES * sizeof *stages);
    take_input(L);
    lua_getfield(L, 1, "stages");
    int n_stages = (int)luaL_len(L, -1);
    for (int i = 0; i < n_stages; i++) {
        lua_geti(L, -1, i + 1);
        make_stage(L, stages, i);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lb_status status = run_stages(L, stages, n_stages, err);
    for (int i = 0; i < n_stages; i++) {
        for (uint32_t j = 0; j < stages[i].n_ops; j++)
            lb_buf_fini(&stages[i].ops[j].params);
        lb_buf_fini(&stages[i].sink.params);
    }
    if (status != LB_OK) {
        lua_pushnil(L);
        lua_pushstring(L, err->message);
        lua_pushinteger(L, status);
        return 3;
    }
    push_output(L);
    return 1;
}

static int l_take_skipped(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)test_skipped);
    if (test_skips.size > 0)
        lb_lua_push_encoded(L, test_skips.data, test_skips.size);
    else
        lua_pushnil(L);
    lb_buf_fini(&test_skips);
    test_skipped = 0;
    return 2;
}

/* Helpers for the chunks: same(a, b) deep equality that tells 1 from 1.0; each(list) one-value
 * records. */
static const char run_ops_prelude[] =
    "function same(a, b)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then\n"
    "    return a == b and math.type(a) == math.type(b) or (a ~= a and b ~= b)\n"
    "  end\n"
    "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n"
    "function text(v)\n"
    "  if type(v) ~= 'table' then return type(v) == 'string' and ('%q'):format(v) or tostring(v) "
    "end\n"
    "  local out = {}\n"
    "  for i = 1, #v do out[i] = text(v[i]) end\n"
    "  for k, x in pairs(v) do if math.type(k) ~= 'integer' then out[#out + 1] = k .. '=' .. "
    "text(x) end end\n"
    "  return '{' .. table.concat(out, ', ') .. '}'\n"
    "end\n"
    "function is(got, want) if not same(got, want) then error('got ' .. text(got):sub(1, 2000) .. "
    "'\\nwant ' .. text(want):sub(1, 2000), 2) end end\n"
    "function each(list) local out = {} for i, v in ipairs(list) do out[i] = {v} end return out "
    "end\n"
    "function flat(out) local all = {} for i = 1, #out do for _, r in ipairs(out[i]) do all[#all + "
    "1] = r end end return all end\n"
    "function through(records, ...) return flat(assert(run{morsels = {records}, stages = "
    "{{...}}})) end\n"
    "function fails(pattern, records, ...)\n"
    "  local out, message, status = run{morsels = {records}, stages = {{...}}}\n"
    "  if out then error('no error but ' .. text(out), 2) end\n"
    "  if not message:find(pattern) then error('message: ' .. message, 2) end\n"
    "  return message, status\n"
    "end\n";

/* Runs a chunk of Lua in a fresh state; what it raises fails the test. */
static void check_lua(const char *chunk)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_register(L, "run", l_run);
    lua_register(L, "take_skipped", l_take_skipped);
    lua_pushinteger(L, (lua_Integer)random_bits());
    lua_setglobal(L, "seed");
    lua_pushinteger(L, FEWEST_THREADS);
    lua_setglobal(L, "FEWEST_THREADS");
    lua_pushinteger(L, LB_BATCH_ROWS);
    lua_setglobal(L, "BATCH_ROWS");
    luaL_requiref(L, "luabatch.core", luaopen_luabatch_core, 0); /* registers the operators */
    lua_setglobal(L, "core");
    if (luaL_dostring(L, run_ops_prelude) != LUA_OK ||
        luaL_loadbuffer(L, chunk, strlen(chunk), "=chunk") || lua_pcall(L, 0, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
    for (uint32_t i = 0; i < MAX_MORSELS; i++) {
        lb_buf_fini(&test_input.morsels[i]);
        lb_buf_fini(&test_output.morsels[i]);
    }
}

#endif
