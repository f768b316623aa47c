/* Text made safe for a terminal: what data holds must not move the cursor, change colours or turn the direction of
 * writing. Control characters, bytes that are not UTF-8 and invisible characters that change their
 * neighbours are shown as escapes; the width is counted in cells (two for wide characters, none for combining ones), by
 * the tables of the C library. Text longer than asked ends in "…". */
#include "lua_bindings/printable.h"

#include <locale.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "lua_bindings/compat.h"

enum { LONGEST_ESCAPE = 12 };

static pthread_once_t locale_once = PTHREAD_ONCE_INIT;
static locale_t unicode;

static void make_locale(void)
{
    unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

/* Reads one character of UTF-8: its bytes, or 0 when they are none. Overlong forms and surrogates are none. */
static size_t decode(const unsigned char *text, size_t size, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = text[0];
    size_t n = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
    if (n == 0 || n > size || first > 0xf4)
        return 0;
    *code = n == 1 ? first : first & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (text[i] & 0x3f);
    }
    bool is_character =
        *code >= least[n] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
    return is_character ? n : 0;
}

/* Marks and switches of the direction of writing, and what joins or separates lines. */
static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c ||
           (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
}

static int escape(char *out, uint32_t code)
{
    switch (code) {
    case '\t':
        return snprintf(out, LONGEST_ESCAPE, "\\t");
    case '\n':
        return snprintf(out, LONGEST_ESCAPE, "\\n");
    case '\r':
        return snprintf(out, LONGEST_ESCAPE, "\\r");
    default:
        return snprintf(out, LONGEST_ESCAPE, code < 0x80 ? "\\x%02x" : "\\u{%x}", (unsigned)code);
    }
}

int lb_lua_printable(lua_State *L)
{
    size_t size;
    const unsigned char *text = (const unsigned char *)luaL_checklstring(L, 1, &size);
    lua_Integer limit = luaL_optinteger(L, 2, LUA_MAXINTEGER);
    luaL_argcheck(L, limit >= 1, 2, "at least 1 expected");
    pthread_once(&locale_once, make_locale);

    luaL_Buffer out;
    luaL_buffinit(L, &out);
    lua_Integer cells = 0, cut_cells = 0;
    size_t n_bytes = 0, cut_bytes = 0; /* as long as one cell is left for "…" */
    bool is_cut = false;
    for (size_t i = 0; i < size && !is_cut;) {
        char piece[LONGEST_ESCAPE];
        uint32_t code = 0;
        size_t n = decode(text + i, size - i, &code);
        int piece_bytes, width;
        if (n == 0) {
            piece_bytes = width = snprintf(piece, sizeof piece, "\\x%02x", text[i]);
            n = 1;
        } else if (is_control(code)) {
            piece_bytes = width = escape(piece, code);
        } else {
            memcpy(piece, text + i, n);
            piece_bytes = (int)n;
            locale_t before = unicode != (locale_t)0 ? uselocale(unicode) : (locale_t)0;
            width = code < 0x80 ? 1 : wcwidth((wchar_t)code);
            if (before != (locale_t)0)
                uselocale(before);
            if (width < 0) { /* not assigned: a terminal may show anything */
                piece_bytes = width = escape(piece, code);
            }
        }
        is_cut = width > limit - cells;
        if (is_cut)
            break;
        luaL_addlstring(&out, piece, (size_t)piece_bytes);
        n_bytes += (size_t)piece_bytes;
        cells += width;
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
