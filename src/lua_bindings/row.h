/* Rows: a record as one Lua table, by the names of its columns.
 *
 * CALLS   init; (add_reader ...) for the functions that will get the row; per record push, or fill and
 *         then push_shared or push_table for each function; fini.
 * IDEA    A function that only reads fields by constant names (lb_bytecode_row_reads) can neither keep
 *         its row nor see what else is in it. So all records share one table, of which only the columns
 *         that are read are ever set: setting a field of an old table costs a tenth of making a new one.
 *         Any other function gets a new table each time, which is then its own.
 * LAZY    Strings and tables that a function reads behind a branch are made when they are read, by
 *         __index. It also refuses names that no column has: in a shared table such a read is sure to
 *         be a slip.
 * WHY NOT A userdata whose __index reads the column: every read is a call of a C function then, 44 ns; to
 *         set a field and read it takes less than 20 ns. */
#ifndef LB_LUA_ROW_H
#define LB_LUA_ROW_H

#include "core/column/codec.h"
#include "lua_bindings/bytecode.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/worker.h"

struct lb_lua_row_column {
    const char *text; /* its name; lives as long as the parameters */
    size_t size;
    int name;       /* the same as a Lua string: registry reference */
    bool is_read;   /* some reader reads it, */
    bool is_always; /* and one of them before any branch */
    bool is_set;    /* the shared table has the field from the last row that was filled in */
};

struct lb_lua_row {
    /* configuration */
    struct lb_lua_worker *lua; /* NULL: records are no rows */
    bool is_shared; /* all functions added so far only read: push gives the shared table */
    bool is_lazy;   /* the shared table has __index */
    uint32_t n_columns;
    uint32_t n_reads;
    struct lb_lua_row_column *columns;
    uint16_t *reads; /* numbers of the columns that are read */
    /* state */
    const struct lb_batch *batch; /* the record that was filled in last */
    uint32_t row;
    /* resources: registry references */
    int table; /* the shared table */
    int index; /* its __index */
};

/* Reads the list of column names at `key` ("names") among an operator's parameters; without it records are no
 * rows (lua stays NULL). A zeroed row may be given to fini. */
lb_status lb_lua_row_init(struct lb_lua_row *row, struct lb_lua_worker *lua,
                          const struct lb_value *params, const char *key, const char *label,
                          struct lb_error *err) LB_MUST_USE;
void lb_lua_row_fini(struct lb_lua_row *row);

static inline bool lb_lua_row_is_on(const struct lb_lua_row *row)
{
    return row->lua != NULL;
}

/* What the function at index does with its parameter of that number, as lb_bytecode_row_reads. False also for
 * C functions and for want of memory. Needs a free stack slot; raises nothing. */
bool lb_lua_row_reads(lua_State *L, int index, int param, lb_bytecode_field_visitor *visitor,
                      void *state);

/* The rest may raise: for C functions that Lua calls. */

/* Adds the function at index, which gets the row as its parameter of that number. True when it may get the
 * shared table. The row is shared (push) when that is so for all of them. */
bool lb_lua_row_add_reader(struct lb_lua_row *row, lua_State *L, int index, int param);

/* Makes the shared table show a record until the next fill, and pushes it: only for functions that add_reader said true for. */
void lb_lua_row_fill(struct lb_lua_row *row, lua_State *L, const struct lb_batch *batch,
                     uint32_t number);
/* Pushes a new table with all columns that are not nil. */
void lb_lua_row_push_table(const struct lb_lua_row *row, lua_State *L, const struct lb_batch *batch,
                           uint32_t number);

/* Pushes the record as a row for the functions added. */
static inline void lb_lua_row_push(struct lb_lua_row *row, lua_State *L,
                                   const struct lb_batch *batch, uint32_t number)
{
    if (row->is_shared)
        lb_lua_row_fill(row, L, batch, number);
    else
        lb_lua_row_push_table(row, L, batch, number);
}

#endif
