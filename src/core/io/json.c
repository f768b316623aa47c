/* JSON text: marks, records and members. json.h has the contracts, json_body.h the vector code, json_value.c the values. */
#include "core/io/json.h"

#include <string.h>

#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/io/text_kernels.h"

enum { SPARE = 64 };

#define W LB_JSON_WORD
#define W8 W, W, W, W, W, W, W, W
#define W32 W8, W8, W8, W8
const char lb_json_kinds[256] = {W8,  W,   W,   '\n', W, W, W,   W, W,   W8, W8, /* 0 */
                                 W,   W,   '"', W,    W, W, W,   W, W,   W,  W,  W, ',',
                                 W,   W,   W,   W8,   W, W, ':', W, W,   W,  W,  W, /* 32 */
                                 W8,  W8,  W8,  W,    W, W, '[', W, ']', W,  W,     /* 64 */
                                 W8,  W8,  W8,  W,    W, W, '{', W, '}', W,  W,     /* 96 */
                                 W32, W32, W32, W32};
#undef W32
#undef W8
#undef W

/* ---- marks ---- */

lb_status lb_json_index_init(struct lb_json_index *index, size_t capacity, struct lb_error *err)
{
    *index = (struct lb_json_index){.capacity = capacity};
    index->positions = lb_alloc((capacity + SPARE) * sizeof *index->positions);
    index->kinds = lb_alloc(capacity + SPARE);
    if (index->positions != NULL && index->kinds != NULL)
        return LB_OK;
    return lb_error_memory(err, "marks of JSON text", capacity * sizeof *index->positions);
}

void lb_json_index_fini(struct lb_json_index *index)
{
    if (index->positions != NULL)
        lb_free(index->positions, (index->capacity + SPARE) * sizeof *index->positions);
    if (index->kinds != NULL)
        lb_free(index->kinds, index->capacity + SPARE);
    *index = (struct lb_json_index){0};
}

lb_status lb_json_index_grow(struct lb_json_index *index, struct lb_error *err)
{
    struct lb_json_index larger = {0};
    lb_status status = lb_json_index_init(&larger, 2 * index->capacity, err);
    if (status != LB_OK) {
        lb_json_index_fini(&larger);
        return status;
    }
    lb_json_index_fini(index);
    *index = larger;
    return LB_OK;
}

void lb_json_index(const char *data, size_t size, bool in_lines, struct lb_json_index *index)
{
    lb_text_kernels_in_use()->json_index(data, size, in_lines, index);
}

/* ---- records ---- */

/* Behind the value that begins at mark `at`, or 0 when the marks end inside it. Brackets are only counted. */
static size_t behind_value(const struct lb_json_index *index, size_t at)
{
    size_t depth = 0;
    for (size_t i = at; i < index->n; i++) {
        char kind = index->kinds[i];
        if (kind == '{' || kind == '[')
            depth++;
        else if (kind == '}' || kind == ']')
            depth -= depth > 0;
        else if (kind == '"' && depth == 0)
            return i + 2 <= index->n ? i + 2 : 0;
        if (depth == 0)
            return i + 1;
    }
    return 0;
}

static enum lb_json_found next_line(struct lb_json_walk *walk, const struct lb_json_index *index,
                                    size_t *first, size_t *end)
{
    size_t at = walk->next;
    while (at < index->n && index->kinds[at] == '\n')
        at++;
    *first = walk->next = at;
    if (at == index->n)
        return LB_JSON_NONE;
    const char *newline = memchr(index->kinds + at, '\n', index->n - at);
    if (newline == NULL)
        return LB_JSON_PARTIAL;
    *end = (size_t)(newline - index->kinds);
    walk->next = *end + 1;
    return LB_JSON_RECORD;
}

enum lb_json_found lb_json_next(struct lb_json_walk *walk, const struct lb_json_index *index,
                                size_t *first, size_t *end)
{
    if (walk->in_lines)
        return next_line(walk, index, first, end);
    for (;;) {
        size_t at = *first = walk->next;
        if (at >= index->n)
            return LB_JSON_NONE;
        char kind = index->kinds[at];
        bool is_close = kind == ']' && (walk->place == LB_JSON_FIRST_OR_CLOSE ||
                                        walk->place == LB_JSON_COMMA_OR_CLOSE);
        bool is_comma = kind == ',' && walk->place == LB_JSON_COMMA_OR_CLOSE;
        if (walk->place == LB_JSON_OPEN && kind == '[') {
            walk->place = LB_JSON_FIRST_OR_CLOSE;
        } else if (is_close) {
            walk->place = LB_JSON_CLOSED;
        } else if (is_comma) {
            walk->place = LB_JSON_ELEMENT;
        } else if ((walk->place == LB_JSON_FIRST_OR_CLOSE || walk->place == LB_JSON_ELEMENT) &&
                   strchr("{[\"w", kind) != NULL) {
            *end = behind_value(index, at);
            if (*end == 0)
                return LB_JSON_PARTIAL;
            walk->place = LB_JSON_COMMA_OR_CLOSE;
            walk->next = *end;
            return LB_JSON_RECORD;
        } else {
            return LB_JSON_BROKEN;
        }
        walk->next = at + 1;
    }
}

/* ---- members ---- */

void lb_json_members_fini(struct lb_json_members *members)
{
    if (members->items != NULL)
        lb_free(members->items, members->capacity * sizeof *members->items);
    *members = (struct lb_json_members){0};
}

static lb_status make_room(struct lb_json_members *members, struct lb_error *err)
{
    if (members->n < members->capacity)
        return LB_OK;
    size_t old = members->capacity, wanted = old > 0 ? 2 * old : 32;
    struct lb_json_member *items =
        lb_realloc(members->items, old * sizeof *items, wanted * sizeof *items);
    if (items == NULL)
        return lb_error_memory(err, "members of an object", wanted * sizeof *items);
    members->items = items;
    members->capacity = wanted;
    return LB_OK;
}

/* Behind the brackets that open at mark `at`; 0 and *reason: they do not match. */
static size_t match_brackets(const struct lb_json_index *index, size_t at, size_t end,
                             size_t *wrong, const char **reason)
{
    char open[LB_CODEC_DEPTH - 1]; /* the record is one, too */
    unsigned depth = 0;
    for (; at < end; at++) {
        char kind = index->kinds[at];
        *wrong = at;
        if (kind == '{' || kind == '[') {
            if (depth == sizeof open) {
                *reason = "objects and arrays are nested more than 100 deep";
                return 0;
            }
            open[depth++] = kind;
        } else if (kind == '}' || kind == ']') {
            if (open[depth - 1] != (kind == '}' ? '{' : '[')) {
                *reason = "a bracket closes what another kind has opened";
                return 0;
            }
            if (--depth == 0)
                return at + 1;
        }
    }
    *reason = "an object or array is not closed";
    return 0;
}

static lb_status flawed(const struct lb_json_index *index, size_t mark, const char *reason,
                        struct lb_json_flaw *flaw)
{
    flaw->reason = reason;
    flaw->position = mark < index->n ? index->positions[mark] : (uint32_t)index->seen;
    return LB_OK;
}

lb_status lb_json_members_of(const struct lb_json_index *index, size_t first, size_t end,
                             struct lb_json_members *members, struct lb_json_flaw *flaw,
                             struct lb_error *err)
{
    const char *kinds = index->kinds;
    size_t at = first + 1;
    members->n = 0;
    flaw->reason = NULL;
    if (kinds[first] != '{')
        return flawed(index, first, "the record is no object", flaw);
    bool is_empty = at < end && kinds[at] == '}';
    for (; !is_empty; at++) {
        if (at >= end || kinds[at] != '"')
            return flawed(index, at, "a name in double quotes is expected", flaw);
        if (at + 1 >= end || kinds[at + 1] != '"')
            return flawed(index, at, "a string is not closed", flaw);
        if (at + 2 >= end || kinds[at + 2] != ':')
            return flawed(index, at + 2, "':' is expected", flaw);
        size_t value = at + 3, behind = value + 1, wrong = value;
        if (value >= end)
            return flawed(index, value, "a value is expected", flaw);
        if (kinds[value] == '"') {
            behind++;
            if (value + 1 >= end)
                return flawed(index, value, "a string is not closed", flaw);
        } else if (kinds[value] == '{' || kinds[value] == '[') {
            const char *reason = NULL;
            behind = match_brackets(index, value, end, &wrong, &reason);
            if (behind == 0)
                return flawed(index, wrong, reason, flaw);
        } else if (kinds[value] != LB_JSON_WORD) {
            return flawed(index, value, "a value is expected", flaw);
        }
        if (behind >= end)
            return flawed(index, end, "the object is not closed", flaw);
        LB_TRY(make_room(members, err));
        members->items[members->n++] = (struct lb_json_member){
            (uint32_t)(at - first), (uint32_t)(value - first), (uint32_t)(behind - first)};
        at = behind;
        if (kinds[at] == '}')
            break;
        if (kinds[at] != ',')
            return flawed(index, at, "',' or '}' is expected", flaw);
    }
    if (at + 1 < end)
        return flawed(index, at + 1, "something stands behind the object", flaw);
    return LB_OK;
}
