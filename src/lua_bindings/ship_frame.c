/* Where a value that is being packed was found, in words for messages. */
#include <stdio.h>
#include <string.h>

#include "lua_bindings/ship_private.h"

void lb_lua_ship_locate(lua_State *L, int index, char *where)
{
    lua_Debug ar;
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &ar);
    if (ar.linedefined > 0)
        snprintf(where, LB_SHIP_WHERE_BYTES, "%s:%d", ar.short_src, ar.linedefined);
    else
        snprintf(where, LB_SHIP_WHERE_BYTES, "%s", ar.short_src);
}

void lb_lua_ship_describe(const struct lb_ship_frame *frame, char *text, size_t size)
{
    if (frame == NULL) {
        snprintf(text, size, "the value");
        return;
    }
    const struct lb_ship_frame *fields[LB_SHIP_DEPTH + 1];
    int n = 0;
    while (frame != NULL && frame->kind == LB_SHIP_FIELD && n <= LB_SHIP_DEPTH) {
        fields[n++] = frame;
        frame = frame->outer;
    }
    if (frame == NULL)
        snprintf(text, size, "the table");
    else
        snprintf(text, size, "%s '%s'",
                 frame->kind == LB_SHIP_GLOBAL ? "the global" : "the captured variable",
                 frame->name);
    for (size_t used = strlen(text); n > 0 && used < size; used += strlen(text + used)) {
        const struct lb_ship_frame *field = fields[--n];
        if (field->name != NULL)
            snprintf(text + used, size - used, ".%s", field->name);
        else if (field->index != 0)
            snprintf(text + used, size - used, "[%lld]", (long long)field->index);
        else
            snprintf(text + used, size - used, "[...]");
    }
    size_t used = strlen(text);
    if (frame != NULL && frame->kind == LB_SHIP_UPVALUE)
        snprintf(text + used, size - used, " of the function at %s", frame->where);
}
