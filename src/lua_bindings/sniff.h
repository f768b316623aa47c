/* What the engine says about input files before a plan is made. */
#ifndef LB_LUA_SNIFF_H
#define LB_LUA_SNIFF_H

#include "lua_bindings/compat.h"

/* core.csv_sniff(paths, { sep =, quote =, header =, check_header =, null =, compression = }) -> { names = {...}, types = {...} } */
int lb_lua_csv_sniff(lua_State *L);
/* core.json_sniff(paths, may_be_empty, compression?) -> { names = {...}, types = {...} } */
int lb_lua_json_sniff(lua_State *L);
/* core.text_bytes(paths, compression?) -> about how many bytes of text are in the files; what is compressed stands for four times as
 * many. nil: of some that is not known */
int lb_lua_text_bytes(lua_State *L);
/* core.native_names(paths, compression?) -> list of { path =, names = list; nil where records are no rows } */
int lb_lua_native_names(lua_State *L);
/* core.hive_parts(path) -> list of { name, text }, text nil where the folder says so; see io/hive.h */
int lb_lua_hive_parts(lua_State *L);
/* core.csv_type(texts) -> the narrowest type of CSV that all fit; "string" for none */
int lb_lua_csv_type(lua_State *L);

#endif
