/* The option `salt` given as a Lua function: what lb_host calls. */
#ifndef LB_LUA_SALT_H
#define LB_LUA_SALT_H

#include "core/column/codec.h"
#include "core/ops/context.h"

lb_status lb_lua_salt_open(struct lb_worker *worker, const struct lb_value *params,
                           const char *label, void **salt, struct lb_error *err) LB_MUST_USE;
lb_status lb_lua_salt_ask(void *salt, const char *key, size_t size, uint32_t *n_pieces,
                          struct lb_error *err) LB_MUST_USE;
void lb_lua_salt_close(void *salt);

#endif
