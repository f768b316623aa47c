/* string.find, match, gmatch, gsub, lower and upper with compiled patterns.
 *
 * IDEA   Lua reads the text of a pattern at every step of every match. Here each state keeps the
 *        patterns it uses compiled, found by the address of the pattern's string. A pattern is
 *        compiled when it comes the second time, or the first time for a long subject; until
 *        then, and for whatever has an error to report (a malformed pattern, one that may become
 *        too complex, a bad argument), Lua's own function runs in our place: it is called as a
 *        plain C function, in our frame, so that its messages are exactly the usual.
 * TIME   A compiled pattern that matches for ever can be stopped (lb_pattern_ask), Lua's own function cannot. So a pattern with
 *        many choices is compiled at first sight.
 * MEMORY A compiled pattern lies in a userdata whose user value is the pattern's string. The
 *        table `kept` holds those that have a slot, so an address in a slot always means that
 *        string; an iterator of gmatch holds its own in an upvalue. Nothing needs a finalizer
 *        but the holder that owns a pattern between lb_pattern_new and its copy. Whatever
 *        allocates in Lua may run finalizers, which may call these functions and give a slot
 *        away: a slot and its pattern are used before the next allocation, or the userdata is on
 *        the stack.
 * WHY NOT compile at first sight: a pattern built anew for every call would cost more than Lua's
 *        matcher takes.
 *        A cache of the last 4096 words that gmatch pushed: 10 % faster on a book, but 25 %
 *        slower on 200,000 distinct words, because it keeps alive what Lua's collector had freed
 *        and given back while it was still in the processor's cache. */
#include "lua_bindings/strings.h"

#include <string.h>

#include "core/algo/byteset.h"
#include "core/algo/pattern.h"
#include "lua_bindings/compat.h"

#if LB_LUAJIT

/* LuaJIT's own stay: its patterns differ where one matches the empty string. That costs: matching takes 39 % of the time of a match on
 * each line of a log, 12 % of a word count's, 5 % of a group's. */
void lb_lua_open_strings(lua_State *L)
{
    (void)L;
}

#else

enum {
    N_SLOTS = 256,           /* a power of two */
    N_PROBES = 4,            /* slots in which a pattern may be */
    LONG_SUBJECT = 512,      /* bytes for which compiling pays at once */
    LONG_PATTERN = 1024,     /* bytes beyond which a pattern is left to Lua, */
    LONGEST_PATTERN = 65536, /* and if it has as many choices as can take long: */
    LONG_BITS = 30,
    STACK_CAPTURES = 10 /* values that surely fit in a C function's stack */
};

struct slot {
    const char *key;                  /* the pattern string's bytes; NULL: free */
    const struct lb_pattern *pattern; /* NULL: leave it to Lua */
    bool is_plain;                    /* no byte of it is special: find looks for the bytes */
};

/* Upvalue 1 of the functions; upvalue 2 is the table `kept`: [slot + 1] is the slot's userdata or
 * false. */
struct cache {
    lua_CFunction find;
    lua_CFunction match;
    lua_CFunction gmatch;
    lua_CFunction gsub;
    unsigned n_evicted; /* chooses the next slot to give away */
    struct slot slots[N_SLOTS];
    const char *seen[N_SLOTS]; /* addresses met once; only a hint, they may be stale */
};

static struct cache *to_cache(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* ---- the cache ---- */

static const char holder_type[] = "luabatch.pattern_holder";

static int l_holder_gc(lua_State *L)
{
    struct lb_pattern **holder = lua_touserdata(L, 1);
    lb_pattern_delete(*holder);
    *holder = NULL;
    return 0;
}

static unsigned home_slot(const char *key)
{
    uintptr_t bits = (uintptr_t)key >> 3;
    return (unsigned)(bits ^ bits >> 8 ^ bits >> 16) & (N_SLOTS - 1);
}

/* Whether a match may try more than some 2^LONG_BITS ways: each choice of the pattern can fall on each byte. */
static bool may_take_long(const char *key, size_t key_size, size_t subject_size)
{
    int bits_left = LONG_BITS;
    int bits = 64 - __builtin_clzll((unsigned long long)subject_size | 1);
    for (size_t i = 0; i < key_size && bits_left > 0; i++)
        if (key[i] == '*' || key[i] == '-' || key[i] == '+' || key[i] == '?')
            bits_left -= bits;
    return bits_left <= 0;
}

/* Pushes the userdata with the compiled pattern at stack index 2; an empty one when it should be
 * left to Lua. */
static struct lb_pattern *push_compiled(lua_State *L, const char *key, size_t key_size)
{
    struct lb_pattern *pattern = NULL;
    struct lb_pattern **holder = lua_newuserdatauv(L, sizeof *holder, 0);
    *holder = NULL;
    luaL_setmetatable(L, holder_type);
    if (lb_pattern_new(key, key_size, holder, NULL) == LB_OK &&
        (!lb_pattern_is_deep(*holder) || may_take_long(key, key_size, LONG_SUBJECT))) {
        void *memory = lua_newuserdatauv(L, lb_pattern_bytes(*holder), 1);
        pattern = lb_pattern_copy(*holder, memory);
    } else {
        lua_newuserdatauv(L, 0, 1);
    }
    lb_pattern_delete(*holder);
    *holder = NULL;
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 1);
    lua_remove(L, -2); /* the holder */
    return pattern;
}

static bool is_plain(const char *key, size_t key_size)
{
    static const char specials[] = "^$*+?.([%-";
    for (size_t i = 0; i < key_size; i++) {
        if (memchr(specials, key[i], sizeof specials - 1) != NULL)
            return false;
    }
    return true;
}

static struct slot *add_slot(lua_State *L, struct cache *cache, const char *key, size_t key_size)
{
    struct lb_pattern *pattern = push_compiled(L, key, key_size);
    unsigned home = home_slot(key);
    unsigned at = N_SLOTS;
    for (unsigned i = 0; i < N_PROBES && at == N_SLOTS; i++) {
        unsigned candidate = (home + i) & (N_SLOTS - 1);
        if (cache->slots[candidate].key == NULL || cache->slots[candidate].key == key)
            at = candidate;
    }
    if (at == N_SLOTS)
        at = (home + cache->n_evicted++ % N_PROBES) & (N_SLOTS - 1);
    lua_rawseti(L, lua_upvalueindex(2), (lua_Integer)at + 1); /* has room: does not allocate */
    cache->slots[at] = (struct slot){key, pattern, is_plain(key, key_size)};
    return &cache->slots[at];
}

static struct slot *find_slot_slowly(lua_State *L, struct cache *cache, const char *key,
                                     size_t key_size, size_t subject_size)
{
    unsigned home = home_slot(key);
    for (unsigned i = 1; i < N_PROBES; i++) {
        struct slot *slot = &cache->slots[(home + i) & (N_SLOTS - 1)];
        if (slot->key == key)
            return slot->pattern != NULL ? slot : NULL;
    }
    bool is_first = cache->seen[home] != key && subject_size < LONG_SUBJECT;
    bool is_slow = (is_first || key_size > LONG_PATTERN) && key_size <= LONGEST_PATTERN &&
                   may_take_long(key, key_size, subject_size);
    if (key_size > LONG_PATTERN && !is_slow)
        return NULL;
    if (is_first && !is_slow) {
        cache->seen[home] = key;
        return NULL;
    }
    struct slot *slot = add_slot(L, cache, key, key_size);
    return slot->pattern != NULL ? slot : NULL;
}

/* The slot of the pattern string at stack index 2, whose bytes are `key`; NULL: leave it to Lua. */
static inline struct slot *find_slot(lua_State *L, struct cache *cache, const char *key,
                                     size_t key_size, size_t subject_size)
{
    struct slot *slot = &cache->slots[home_slot(key)];
    if (__builtin_expect(slot->key == key, 1))
        return slot->pattern != NULL ? slot : NULL;
    return find_slot_slowly(L, cache, key, key_size, subject_size);
}

/* ---- arguments and results ---- */

/* Offset of the start position at stack index 3; may be behind the end. */
static inline size_t start_offset(lua_State *L, size_t size)
{
    if (lua_isnoneornil(L, 3))
        return 0;
    lua_Integer position = luaL_checkinteger(L, 3);
    if (position > 0)
        return (size_t)position - 1;
    if (position == 0 || position < -(lua_Integer)size)
        return 0;
    return size + (size_t)position;
}

static inline void push_capture(lua_State *L, const char *subject, const struct lb_match *match,
                                uint32_t i)
{
    if (match->n_captures == 0)
        lua_pushlstring(L, match->start, (size_t)(match->end - match->start));
    else if (match->captures[i].size >= 0)
        lua_pushlstring(L, match->captures[i].data, (size_t)match->captures[i].size);
    else
        lua_pushinteger(L, match->captures[i].data - subject + 1);
}

static inline int push_captures(lua_State *L, const char *subject, const struct lb_match *match)
{
    uint32_t n = match->n_captures == 0 ? 1 : match->n_captures;
    if (n > STACK_CAPTURES)
        luaL_checkstack(L, (int)n, "too many captures");
    for (uint32_t i = 0; i < n; i++)
        push_capture(L, subject, match, i);
    return (int)n;
}

/* ---- match and find ---- */

/* Raises what lb_pattern_find has not found out: the pattern is too complex, or user code is to stop. */
static int fail_to_match(lua_State *L, lb_status status)
{
    return luaL_error(L, status == LB_ERR_CANCELLED ? "stopped" : "pattern too complex");
}

static int l_match(lua_State *L)
{
    struct cache *cache = to_cache(L);
    size_t size, key_size;
    const char *subject = lua_tolstring(L, 1, &size);
    const char *key = lua_tolstring(L, 2, &key_size);
    struct lb_match match;
    bool found;
    if (subject == NULL || key == NULL)
        return cache->match(L);
    size_t from = start_offset(L, size);
    struct slot *slot = find_slot(L, cache, key, key_size, size);
    if (slot == NULL)
        return cache->match(L);
    lb_status status = lb_pattern_find(slot->pattern, subject, size, from, &match, &found, NULL);
    if (status != LB_OK)
        return fail_to_match(L, status);
    if (found)
        return push_captures(L, subject, &match);
    luaL_pushfail(L);
    return 1;
}

static int push_plain_find(lua_State *L, const char *subject, size_t size, size_t from,
                           const char *needle, size_t needle_size)
{
    const char *place =
        from > size ? NULL : lb_bytes_find(subject + from, subject + size, needle, needle_size);
    if (place == NULL) {
        luaL_pushfail(L);
        return 1;
    }
    lua_pushinteger(L, place - subject + 1);
    lua_pushinteger(L, place - subject + (lua_Integer)needle_size);
    return 2;
}

static int l_find(lua_State *L)
{
    struct cache *cache = to_cache(L);
    size_t size, key_size;
    const char *subject = lua_tolstring(L, 1, &size);
    const char *key = lua_tolstring(L, 2, &key_size);
    struct lb_match match;
    bool found;
    if (subject == NULL || key == NULL)
        return cache->find(L);
    size_t from = start_offset(L, size);
    if (lua_toboolean(L, 4))
        return push_plain_find(L, subject, size, from, key, key_size);
    struct slot *slot = find_slot(L, cache, key, key_size, size);
    if (slot != NULL && slot->is_plain)
        return push_plain_find(L, subject, size, from, key, key_size);
    if (slot == NULL)
        return cache->find(L);
    lb_status status = lb_pattern_find(slot->pattern, subject, size, from, &match, &found, NULL);
    if (status != LB_OK)
        return fail_to_match(L, status);
    if (!found) {
        luaL_pushfail(L);
        return 1;
    }
    lua_pushinteger(L, match.start - subject + 1);
    lua_pushinteger(L, match.end - subject);
    return 2 + (match.n_captures == 0 ? 0 : push_captures(L, subject, &match));
}

/* ---- gmatch ---- */

/* Upvalues of the iterators: 1 the subject, 2 the state, 3 the pattern's userdata. */
struct iteration {
    const struct lb_pattern *pattern;
    const char *subject;
    size_t size;
    size_t from;
    const char *last_end;
};

static int l_gmatch_next(lua_State *L)
{
    struct iteration *it = lua_touserdata(L, lua_upvalueindex(2));
    struct lb_match match;
    bool found;
    lb_status status = lb_pattern_next(it->pattern, it->subject, it->size, it->from, it->last_end,
                                       &match, &found, NULL);
    if (status != LB_OK)
        return fail_to_match(L, status);
    if (!found)
        return 0;
    it->last_end = match.end;
    it->from = (size_t)(match.end - it->subject);
    return push_captures(L, it->subject, &match);
}

/* The same for patterns that are one run of a set: the state is a struct lb_runs. */
static int l_gmatch_next_run(lua_State *L)
{
    struct lb_runs *runs = lua_touserdata(L, lua_upvalueindex(2));
    const char *start, *stop;
    if (!lb_runs_next(runs, &start, &stop))
        return 0;
    lua_pushlstring(L, start, (size_t)(stop - start));
    return 1;
}

static int l_gmatch(lua_State *L)
{
    struct cache *cache = to_cache(L);
    size_t size, key_size;
    const char *subject = lua_tolstring(L, 1, &size);
    const char *key = lua_tolstring(L, 2, &key_size);
    if (subject == NULL || key == NULL)
        return cache->gmatch(L);
    size_t from = start_offset(L, size);
    struct slot *slot = find_slot(L, cache, key, key_size, size);
    if (slot == NULL)
        return cache->gmatch(L);
    lua_settop(L, 2);
    lua_rawgeti(L, lua_upvalueindex(2), slot - cache->slots + 1);
    const struct lb_pattern *pattern = lua_touserdata(L, 3);
    const struct lb_byteset *run = lb_pattern_run(pattern);
    if (run != NULL) {
        struct lb_runs *runs = lua_newuserdatauv(L, sizeof *runs, 0);
        lb_runs_init(runs, run, subject + (from < size ? from : size), subject + size);
    } else {
        struct iteration *it = lua_newuserdatauv(L, sizeof *it, 0);
        *it = (struct iteration){pattern, subject, size, from, NULL};
    }
    lua_replace(L, 2); /* the pattern's string lives on with its userdata */
    lua_pushcclosure(L, run != NULL ? l_gmatch_next_run : l_gmatch_next, 3);
    return 1;
}

/* ---- gsub ---- */

/* Appends a replacement string, in which % is special. */
static void add_string(lua_State *L, luaL_Buffer *out, const char *subject,
                       const struct lb_match *match)
{
    size_t size;
    const char *text = lua_tolstring(L, 3, &size);
    const char *end = text + size;
    const char *escape;
    while ((escape = memchr(text, '%', (size_t)(end - text))) != NULL) {
        luaL_addlstring(out, text, (size_t)(escape - text));
        char letter = escape[1]; /* a string ends with a NUL */
        if (letter == '%') {
            luaL_addchar(out, '%');
        } else if (letter == '0') {
            luaL_addlstring(out, match->start, (size_t)(match->end - match->start));
        } else if (letter >= '1' && letter <= '9') {
            uint32_t i = (uint32_t)(letter - '1');
            if (i >= match->n_captures && i != 0)
                luaL_error(L, "invalid capture index %%%d", (int)i + 1);
            push_capture(L, subject, match, i);
            luaL_addvalue(out);
        } else {
            luaL_error(L, "invalid use of '%c' in replacement string", '%');
        }
        text = escape + 2;
    }
    luaL_addlstring(out, text, (size_t)(end - text));
}

/* Appends what stands for the match; false when that is the match itself. */
static bool add_replacement(lua_State *L, luaL_Buffer *out, int type, const char *subject,
                            const struct lb_match *match)
{
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(L, subject, match), 1);
    } else if (type == LUA_TTABLE) {
        push_capture(L, subject, match, 0);
        lua_gettable(L, 3);
    } else {
        add_string(L, out, subject, match);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, match->start, (size_t)(match->end - match->start));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(out);
    return true;
}

static int l_gsub(lua_State *L)
{
    struct cache *cache = to_cache(L);
    size_t size, key_size;
    const char *subject = lua_tolstring(L, 1, &size);
    const char *key = lua_tolstring(L, 2, &key_size);
    int type = lua_type(L, 3);
    if (subject == NULL || key == NULL ||
        (type != LUA_TNUMBER && type != LUA_TSTRING && type != LUA_TFUNCTION && type != LUA_TTABLE))
        return cache->gsub(L);
    lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)size + 1);
    struct slot *slot = find_slot(L, cache, key, key_size, size);
    if (slot == NULL)
        return cache->gsub(L);
    lua_settop(L, 4);
    lua_rawgeti(L, lua_upvalueindex(2), slot - cache->slots + 1);
    const struct lb_pattern *pattern = lua_touserdata(L, 5);
    bool anchored = key_size > 0 && key[0] == '^';
    bool changed = false;
    lua_Integer n = 0;
    const char *last_end = NULL;
    size_t done = 0; /* bytes of the subject dealt with */
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    while (n < max) {
        struct lb_match match;
        bool found;
        lb_status status =
            anchored
                ? lb_pattern_find(pattern, subject, size, 0, &match, &found, NULL)
                : lb_pattern_next(pattern, subject, size, done, last_end, &match, &found, NULL);
        if (status != LB_OK)
            return fail_to_match(L, status);
        if (!found)
            break;
        n++;
        luaL_addlstring(&out, subject + done, (size_t)(match.start - subject) - done);
        changed |= add_replacement(L, &out, type, subject, &match);
        last_end = match.end;
        done = (size_t)(match.end - subject);
        if (anchored)
            break;
    }
    if (changed) {
        luaL_addlstring(&out, subject + done, size - done);
        luaL_pushresult(&out);
    } else {
        lua_pushvalue(L, 1);
    }
    lua_pushinteger(L, n);
    return 2;
}

/* ---- lower and upper ---- */

#define ONES 0x0101010101010101ULL
#define TOPS 0x8080808080808080ULL

/* 0x20 in each of the eight bytes that is a letter from first to last. */
static inline uint64_t case_bits(uint64_t word, uint8_t first, uint8_t last)
{
    uint64_t low = word & ~TOPS;
    uint64_t from_first = low + (0x80 - first) * ONES;
    uint64_t behind_last = low + (0x7f - last) * ONES;
    return (from_first & ~behind_last & ~word & TOPS) >> 2;
}

static inline uint64_t load_word(const char *s, size_t size)
{
    uint64_t word = 0;
    if (size >= 8) {
        memcpy(&word, s, 8);
    } else if (size >= 4) {
        uint32_t head, tail;
        memcpy(&head, s, 4);
        memcpy(&tail, s + size - 4, 4);
        word = head | (uint64_t)tail << (8 * (size - 4));
    } else if (size > 0) {
        uint64_t middle = (uint8_t)s[size / 2];
        uint64_t tail = (uint8_t)s[size - 1];
        word = (uint8_t)s[0] | middle << (8 * (size / 2)) | tail << (8 * (size - 1));
    }
    return word;
}

/* Bytes in front of the first letter to change, in steps of 8. */
static size_t unchanged(const char *s, size_t size, uint8_t first, uint8_t last)
{
    for (size_t i = 0; i < size; i += 8) {
        if (case_bits(load_word(s + i, size - i), first, last) != 0)
            return i;
    }
    return size;
}

/* Returns the string itself when no letter changes; else a new one with the letters from first to
 * last changed. */
static inline int change_case(lua_State *L, uint8_t first, uint8_t last)
{
    size_t size;
    const char *s = lua_tolstring(L, 1, &size);
    if (__builtin_expect(s == NULL, 0))
        s = luaL_checklstring(L, 1, &size); /* raises */
    size_t i = unchanged(s, size, first, last);
    if (i >= size) {
        lua_settop(L, 1);
        return 1;
    }
    char small[128];
    luaL_Buffer large;
    bool is_small = size <= sizeof small;
    char *out = is_small ? small : luaL_buffinitsize(L, &large, size);
    memcpy(out, s, i);
    for (; size - i >= 8; i += 8) {
        uint64_t word = load_word(s + i, 8);
        word ^= case_bits(word, first, last);
        memcpy(out + i, &word, 8);
    }
    for (; i < size; i++) {
        uint8_t byte = (uint8_t)s[i];
        out[i] = (char)(byte >= first && byte <= last ? byte ^ 0x20 : byte);
    }
    if (is_small)
        lua_pushlstring(L, small, size);
    else
        luaL_pushresultsize(&large, size);
    return 1;
}

static int l_lower(lua_State *L)
{
    return change_case(L, 'A', 'Z');
}

static int l_upper(lua_State *L)
{
    return change_case(L, 'a', 'z');
}

/* ---- opening ---- */

static lua_CFunction stock(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    lua_CFunction function = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    return function;
}

void lb_lua_open_strings(lua_State *L)
{
    static const luaL_Reg cached[] = {
        {"find", l_find}, {"match", l_match}, {"gmatch", l_gmatch}, {"gsub", l_gsub}, {NULL, NULL}};
    static const luaL_Reg plain[] = {{"lower", l_lower}, {"upper", l_upper}, {NULL, NULL}};
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "string");
    lua_remove(L, -2);
    int strings = lua_gettop(L);
    if (stock(L, strings, "match") == l_match) { /* opened twice */
        lua_pop(L, 1);
        return;
    }
    if (luaL_newmetatable(L, holder_type)) {
        lua_pushcfunction(L, l_holder_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_pop(L, 1);
    struct cache *cache = lua_newuserdatauv(L, sizeof *cache, 0);
    memset(cache, 0, sizeof *cache);
    cache->find = stock(L, strings, "find");
    cache->match = stock(L, strings, "match");
    cache->gmatch = stock(L, strings, "gmatch");
    cache->gsub = stock(L, strings, "gsub");
    lua_createtable(L, N_SLOTS, 0);
    for (int i = 1; i <= N_SLOTS; i++) {
        lua_pushboolean(L, 0);
        lua_rawseti(L, -2, i);
    }
    lua_pushvalue(L, strings);
    luaL_setfuncs(L, plain, 0);
    lua_insert(L, -3); /* the table below the two upvalues */
    luaL_setfuncs(L, cached, 2);
    lua_settop(L, strings - 1);
}

#endif
