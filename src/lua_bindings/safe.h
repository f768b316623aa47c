/* Safe mode in a Lua state: what a job that nobody has read may reach (docs/reference.md, "Safe mode"). */
#ifndef LB_LUA_SAFE_H
#define LB_LUA_SAFE_H

#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/error.h"
#include "lua_bindings/compat.h"

/* core.safe { read, list, write: lists of paths; tmp: path; memory: bytes of this state's heap } -> the job's globals, means. Begins safe
 * mode for the process: files (core/base/jail.h), then this state. */
int lb_lua_core_safe(lua_State *L);

/* Gives a state globals that hold only what is harmless; chunks loaded from then on see these. The library keeps the old ones, its
 * environment. The standard libraries are open. May raise. */
void lb_lua_make_safe(lua_State *L);
/* Pushes the library's environment; false, nothing pushed: safe mode is not on, it has the globals. */
bool lb_lua_push_library_globals(lua_State *L);
/* Whether the value at index is the table of globals, the job's or the library's. */
bool lb_lua_is_globals(lua_State *L, int index);
/* Pushes what the job sees of a module of that name: a table that cannot be written to; of "_G" its globals. False, nothing pushed: safe mode
 * is not on, or the job sees nothing of it. */
bool lb_lua_push_view(lua_State *L, const char *name);
/* Puts in place of the table on top, if it is such a view, what it shows. */
void lb_lua_unview(lua_State *L);
/* Enters the views and the changed functions into the table of modules on top (modules.c). */
void lb_lua_enter_views(lua_State *L,
                        void (*enter)(lua_State *L, const char *name, const char *key));
/* Sets the table on top, popped, as metatable of the one below: a job's, which getmetatable may show. Refuses finalizers in safe mode. */
void lb_lua_set_metatable(lua_State *L);

/* Shipments made in this process: in safe mode no others are unpacked, so that a job that forges the bytes of one gains nothing. */
lb_status lb_lua_shipment_note(const struct lb_buf *shipment, struct lb_error *err) LB_MUST_USE;
bool lb_lua_shipment_is_known(const char *data, size_t size);

#endif
