/* Lua values <-> columns and codec bytes. The one place that knows both. */
#ifndef LB_LUA_VALUES_H
#define LB_LUA_VALUES_H

#include "core/column/builder.h"
#include "core/column/codec.h"
#include "lua_bindings/compat.h"

/* Encodes the value at index. What is no value (api.md section 1) gives LB_ERR_USER with a message that
 * names the path to it: "value.items[3].callback is a function". `what` names the root ("value", "key").
 * Never raises a Lua error; leaves the stack as it was. */
lb_status lb_lua_encode(lua_State *L, int index, const char *what, struct lb_buf *out,
                        struct lb_error *err) LB_MUST_USE;
/* Appends the value at index to a column (strings are copied). As lb_lua_encode otherwise. */
lb_status lb_lua_append(lua_State *L, int index, const char *what, struct lb_builder *builder,
                        struct lb_error *err) LB_MUST_USE;
/* Push one value. May raise a Lua memory error: call them inside a protected call. */
void lb_lua_push_column(lua_State *L, const struct lb_column *column, uint32_t row);
void lb_lua_push_encoded(lua_State *L, const char *data, size_t size);
/* Pushes and moves *cursor behind the value. */
void lb_lua_push_next(lua_State *L, const char **cursor);

#endif
