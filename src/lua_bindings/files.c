/* Functions on files for the Lua library: see files.h. */
#include "lua_bindings/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/sys.h"
#include "core/io/output.h"
#include "core/io/path.h"
#include "lua_bindings/errors.h"

/* ---- outputs ---- */

/* core.output_exists(path) -> boolean: whether a file or directory is there; to special files is written in any mode */
static int l_core_output_exists(lua_State *L)
{
    lua_pushboolean(L, lb_output_exists(luaL_checkstring(L, 1)));
    return 1;
}

/* core.output_received(path, receipt): whether what is at path is the output for which a write with that receipt was committed */
static int l_core_output_received(lua_State *L)
{
    lua_pushboolean(L, lb_output_is_received(luaL_checkstring(L, 1), luaL_checkstring(L, 2)));
    return 1;
}

/* core.sweep_output(path): removes what killed processes left beside it */
static int l_core_sweep_output(lua_State *L)
{
    lb_output_sweep(luaL_checkstring(L, 1));
    return 0;
}

/* core.check_output(path, mode, compression?): raises what a run that writes there would be refused for. "none" is added to anything;
 * when nothing is said, to what does not look compressed. ORDER modes */
static int l_core_check_output(lua_State *L)
{
    static const char *const modes[] = {"error", "overwrite", "append", "ignore", NULL};
    struct lb_error err;
    const char *path = luaL_checkstring(L, 1);
    enum lb_output_mode mode = (enum lb_output_mode)luaL_checkoption(L, 2, "error", modes);
    enum lb_compression compression = LB_PLAIN;
    luaL_argcheck(L, lb_compression_named(luaL_optstring(L, 3, "none"), &compression), 3,
                  "unknown compression");
    lb_status status = lb_output_check(path, mode, &err);
    bool is_plain = !lua_isnoneornil(L, 3) && compression == LB_PLAIN;
    if (status == LB_OK && mode == LB_MODE_APPEND && !is_plain)
        status = lb_output_check_mix(path, compression, &err);
    if (status != LB_OK)
        return lb_lua_raise(L, &err);
    return 0;
}

static lb_status write_file(const char *path, const char *data, size_t size, struct lb_error *err)
{
    struct lb_output *output;
    size_t path_size = strlen(path);
    if (path_size == 0 || path[path_size - 1] == '/')
        return lb_error_set(err, LB_ERR_USAGE, "cannot write '%s': it is no file's name", path);
    LB_TRY(lb_output_new(path, LB_MODE_OVERWRITE, "", &output, err));
    lb_status status = data != NULL ? lb_output_write(output, data, size, err) : LB_OK;
    if (status == LB_OK && data != NULL)
        status = lb_output_commit(output, err);
    lb_output_delete(output);
    return status;
}

/* core.write_file(path, text): the file appears whole or not at all. Without text: only whether it could be made. true, or nil, a
 * message and the exit status that it stands for */
static int l_core_write_file(lua_State *L)
{
    size_t size = 0;
    struct lb_error err;
    const char *path = luaL_checkstring(L, 1);
    const char *data = luaL_optlstring(L, 2, NULL, &size);
    if (write_file(path, data, size, &err) == LB_OK) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err.message);
    lua_pushinteger(L, err.status);
    return 3;
}

/* core.make_folders(path): makes a folder, not an empty name, and those above it. true, or nil and a message */
static int l_core_make_folders(lua_State *L)
{
    struct lb_error err;
    const char *path = luaL_checkstring(L, 1);
    luaL_argcheck(L, path[0] != '\0', 1, "it must not be empty");
    if (lb_make_folders(path, &err) == LB_OK) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, err.message);
    return 2;
}

/* core.look_at(path): true when something is there, or nil, a message and whether that means that nothing is */
static int l_core_look_at(lua_State *L)
{
    struct stat info;
    const char *path = luaL_checkstring(L, 1);
    if (lb_sys.stat(path, &info) == 0) {
        lua_pushboolean(L, true);
        return 1;
    }
    int code = errno;
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, strerror(code));
    lua_pushboolean(L, code == ENOENT || code == ENOTDIR);
    return 3;
}

/* ---- inputs ---- */

/* Takes the list; pushes what l_core_expand_paths returns. Called protected. */
static int l_push_files(lua_State *L)
{
    const struct lb_file_list *list = lua_touserdata(L, 1);
    lua_createtable(L, (int)list->n_files, 0);
    for (size_t i = 0; i < list->n_files; i++) {
        const struct lb_file *file = &list->files[i];
        lua_createtable(L, 0, 6);
        lua_pushstring(L, file->path);
        lua_setfield(L, -2, "path");
        lua_pushinteger(L, (lua_Integer)file->size_bytes);
        lua_setfield(L, -2, "size");
        lua_pushboolean(L, file->is_regular);
        lua_setfield(L, -2, "is_regular");
        if (file->is_regular) {
            char id[48];
            snprintf(id, sizeof id, "%llu:%llu", (unsigned long long)file->device,
                     (unsigned long long)file->inode);
            lua_pushstring(L, id);
            lua_setfield(L, -2, "id");
            snprintf(id, sizeof id, "%lld", (long long)file->changed_ns);
            lua_pushstring(L, id);
            lua_setfield(L, -2, "changed");
            snprintf(id, sizeof id, "%llu %lld", (unsigned long long)file->inode,
                     (long long)file->altered_ns);
            lua_pushstring(L, id);
            lua_setfield(L, -2, "stamp");
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* core.expand_paths(path or list) -> list of { path, size, is_regular, id, changed, stamp }; two paths with one id are one file; changed
 * is the time of its last change, nanoseconds as text; stamp is another when it is another file, or anything about it has changed */
static int l_core_expand_paths(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING) {
        lua_createtable(L, 1, 0);
        lua_pushvalue(L, 1);
        lua_rawseti(L, -2, 1);
        lua_replace(L, 1);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, 1, i) != LUA_TSTRING)
            return luaL_error(L, "path %d is a %s, not a string", (int)i, luaL_typename(L, -1));
        lua_pop(L, 1);
    }
    struct lb_file_list list = {0};
    struct lb_error err;
    lb_status status = LB_OK;
    for (lua_Integer i = 1; status == LB_OK && i <= n; i++) {
        lua_rawgeti(L, 1, i);
        int n_attempts = 0;
        do
            status = lb_file_list_add(&list, lua_tostring(L, -1), &err);
        while (status != LB_OK &&
               lb_file_list_again(&(struct lb_file_list){0}, &err, ++n_attempts));
        lua_pop(L, 1);
    }
    if (status != LB_OK) {
        lb_file_list_fini(&list);
        return lb_lua_raise(L, &err);
    }
    lua_pushcfunction(L, l_push_files);
    lua_pushlightuserdata(L, &list);
    int lua_status = lua_pcall(L, 1, 1, 0);
    lb_file_list_fini(&list);
    return lua_status == LUA_OK ? 1 : lua_error(L);
}

const luaL_Reg lb_lua_file_functions[] = {{"output_exists", l_core_output_exists},
                                          {"output_received", l_core_output_received},
                                          {"sweep_output", l_core_sweep_output},
                                          {"check_output", l_core_check_output},
                                          {"expand_paths", l_core_expand_paths},
                                          {"write_file", l_core_write_file},
                                          {"make_folders", l_core_make_folders},
                                          {"look_at", l_core_look_at},
                                          {NULL, NULL}};
