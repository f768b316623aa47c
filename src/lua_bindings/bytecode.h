/* Reading what lua_dump writes (bytecode.c: Lua 5.4, bytecode_jit.c: LuaJIT): which captured variables a function uses, and how. */
#ifndef LB_LUA_BYTECODE_H
#define LB_LUA_BYTECODE_H

#include <stdbool.h>

#include "core/base/buf.h"

/* How an instruction uses a variable that the outermost function captures. */
enum lb_bytecode_use {
    LB_USE_READ,       /* the variable itself is read */
    LB_USE_WRITE,      /* it is assigned to */
    LB_USE_READ_FIELD, /* variable.name is read: for _ENV, the global `name` */
    LB_USE_WRITE_FIELD /* variable.name is assigned to */
};

/* Called for each use. upvalue: 0-based number in the outermost function; in LuaJIT its environment, which has the
 * globals as fields, has the number behind the last. name is borrowed, and NULL
 * for uses of the variable itself. Any other result than LB_OK ends the walk with that. */
typedef lb_status lb_bytecode_visitor(void *state, enum lb_bytecode_use use, int upvalue,
                                      const char *name, size_t name_size, struct lb_error *err);

/* Visits the instructions of a dumped function and of all functions inside it. LB_ERR_INTERNAL when the
 * bytes are not a dump of this version of Lua. */
lb_status lb_bytecode_walk(const char *dump, size_t size, lb_bytecode_visitor *visitor, void *state,
                           struct lb_error *err) LB_MUST_USE;
/* Appends what the function does, without names, lines and where its captured variables come from: two functions with
 * equal bytes do the same if their captured variables are the same. */
lb_status lb_bytecode_canonical(const char *dump, size_t size, struct lb_buf *out,
                                struct lb_error *err) LB_MUST_USE;

/* Called for each name that is read of a row. is_always: the read comes before any branch, so a call reads it
 * unless it fails first. name is borrowed. */
typedef lb_status lb_bytecode_field_visitor(void *state, const char *name, size_t size,
                                            bool is_always, struct lb_error *err);

/* What a dumped function does with its parameter of this number (1: the first). *only_reads: nothing but read
 * fields of it by constant short names; the visitor saw each such read. Not *only_reads: it may also store it,
 * pass it on, return it, write to it, index it otherwise, assign to it or capture it in a closure; what the
 * visitor saw then means nothing. When in doubt, not. */
lb_status lb_bytecode_row_reads(const char *dump, size_t size, int param,
                                lb_bytecode_field_visitor *visitor, void *state, bool *only_reads,
                                struct lb_error *err) LB_MUST_USE;

/* LuaJIT only. Whether the function or one inside it has a loop without a bound: while, repeat, goto backwards. */
lb_status lb_bytecode_has_open_loop(const char *dump, size_t size, bool *has,
                                    struct lb_error *err) LB_MUST_USE;

#endif
