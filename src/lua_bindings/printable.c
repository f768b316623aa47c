/* core.printable: see core/base/printable.h. Text longer than asked ends in "…". */
#include "lua_bindings/printable.h"

#include <stdbool.h>

#include "core/base/printable.h"
#include "lua_bindings/compat.h"

int lb_lua_printable(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    lua_Integer limit = luaL_optinteger(L, 2, LUA_MAXINTEGER);
    luaL_argcheck(L, limit >= 1, 2, "at least 1 expected");

    luaL_Buffer out;
    luaL_buffinit(L, &out);
    lua_Integer cells = 0, cut_cells = 0;
    size_t n_bytes = 0, cut_bytes = 0; /* as long as one cell is left for "…" */
    bool is_cut = false;
    for (size_t i = 0; i < size && !is_cut;) {
        struct lb_printable piece;
        size_t n = lb_printable_next(text + i, size - i, &piece);
        is_cut = piece.width > limit - cells;
        if (is_cut)
            break;
        luaL_addlstring(&out, piece.text, piece.size);
        n_bytes += piece.size;
        cells += piece.width;
        i += n;
        if (cells <= limit - 1) {
            cut_cells = cells;
            cut_bytes = n_bytes;
        }
    }
    luaL_pushresult(&out);
    if (is_cut) {
        lua_pushlstring(L, lua_tostring(L, -1), cut_bytes);
        lua_pushliteral(L, "…");
        lua_concat(L, 2);
        cells = cut_cells + 1;
    }
    lua_pushinteger(L, cells);
    lua_pushboolean(L, is_cut);
    return 3;
}
