/* Journals of finished stages as Lua values (core/io/journal.h). */
#ifndef LB_LUA_JOURNAL_H
#define LB_LUA_JOURNAL_H

#include "lua_bindings/compat.h"

/* core.journal(folder) -> a journal, locked: lines() -> list of values, number of damaged lines; append(value); keep(list of names);
 * clear(); remove(with_parent); close(). Values go as JSON. */
int lb_lua_journal(lua_State *L);
/* core.file_hash(path) -> 16 hexadecimal digits, size in bytes */
int lb_lua_file_hash(lua_State *L);

#endif
