/* The Lua library inside the program, made by scripts/embed_lua.sh. */
#ifndef EMBEDDED_H
#define EMBEDDED_H

#include <stddef.h>

struct embedded_file {
    const char *name; /* as required: "luabatch.dataset"; NULL ends the table */
    const char *text;
    size_t size;
};
extern const struct embedded_file embedded_files[];

#endif
