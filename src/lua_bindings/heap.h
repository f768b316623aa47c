/* The allocator of a worker's Lua state: fast for small objects, every byte reserved in the budget. */
#ifndef LB_LUA_HEAP_H
#define LB_LUA_HEAP_H

#include <stddef.h>

#include "core/base/budget.h"
#include "core/base/error.h"

struct lb_lua_heap;

/* `minimum_bytes` are reserved by force: a Lua state must be able to start. *reserved_bytes always
 * shows what the heap has reserved in the budget; it is borrowed and must outlive the heap. */
lb_status lb_lua_heap_new(struct lb_budget *budget, size_t minimum_bytes, size_t *reserved_bytes,
                          struct lb_lua_heap **heap, struct lb_error *err) LB_MUST_USE;
/* Takes the heap (NULL allowed); the Lua state must be closed. Gives the reservation back. */
void lb_lua_heap_delete(struct lb_lua_heap *heap);
/* A lua_Alloc; `heap` is the user data. NULL when the budget refuses or memory is out; never fails
 * to shrink. */
void *lb_lua_heap_alloc(void *heap, void *block, size_t old_size, size_t new_size);

/* Whether the budget refused since the last time this was asked: time to collect. */
bool lb_lua_heap_wants_collection(struct lb_lua_heap *heap);

/* How many bytes more the last allocation wanted that was given NULL; 0: there was none. */
size_t lb_lua_heap_refused_bytes(const struct lb_lua_heap *heap);

#endif
