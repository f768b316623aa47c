/* JSON text: where its marks stand, which records and members these make, and what a value is.
 *
 * FORMAT  RFC 8259. Either JSON lines: one object a line, blank lines apart; or one array of objects, laid out as it likes.
 * MARKS   The bytes that give the text its shape: { } [ ] : , outside strings, both quotes of a string, the first byte of
 *         anything else (a number, true, false, null, or what should not be there), and in lines the newlines. What lies between
 *         is blank, or inside a string or such a word; so the shape of a record is checked without looking at it.
 * VALUES  A number without point and exponent that fits 64 bits is an integer, another one a float; one that is no float either
 *         (too large, too small) is a string of its text, so that nothing is rounded away. An empty object is an empty list, as
 *         an empty table of Lua has no kind; nil in an object is no member. Strings are bytes: UTF-8 is not checked.
 *
 * Data needs LB_TEXT_PADDING readable bytes behind it. Thread-safe. */
#ifndef LB_IO_JSON_H
#define LB_IO_JSON_H

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/io/text.h"

/* ---- marks ---- */

/* The kind of a mark is its byte; LB_JSON_WORD for the first byte of a word. */
enum { LB_JSON_WORD = 'w' };

struct lb_json_index {
    uint32_t *positions; /* capacity + 64 */
    char *kinds;         /* capacity + 64 */
    size_t capacity;
    size_t n;
    size_t
        seen; /* bytes that the marks cover: less than all for want of room, or behind a string that its line did not
                    close */
};

lb_status lb_json_index_init(struct lb_json_index *index, size_t capacity,
                             struct lb_error *err) LB_MUST_USE;
lb_status lb_json_index_grow(struct lb_json_index *index, struct lb_error *err) LB_MUST_USE;
void lb_json_index_fini(struct lb_json_index *index);
/* Finds the marks of data, which begins outside strings. size < 2^31. */
void lb_json_index(const char *data, size_t size, bool in_lines, struct lb_json_index *index);

/* ---- records ---- */

/* What an array's text stands at. ORDER json places */
enum lb_json_place {
    LB_JSON_OPEN,           /* before its '[' */
    LB_JSON_FIRST_OR_CLOSE, /* behind it */
    LB_JSON_ELEMENT,        /* behind a ',' */
    LB_JSON_COMMA_OR_CLOSE, /* behind an element */
    LB_JSON_CLOSED
};

/* Walks the records of an index. */
struct lb_json_walk {
    bool in_lines;
    enum lb_json_place place; /* not in lines */
    size_t next;              /* mark */
};

enum lb_json_found {
    LB_JSON_RECORD,  /* marks [first, end) */
    LB_JSON_PARTIAL, /* the index ends inside one, which begins at `first` */
    LB_JSON_NONE,    /* no further one is there */
    LB_JSON_BROKEN   /* an array's text is none at mark `first` */
};
enum lb_json_found lb_json_next(struct lb_json_walk *walk, const struct lb_json_index *index,
                                size_t *first, size_t *end);

/* A member of an object; marks count from the record's first. A value of kind '"', '{' or '[' ends with mark `end` - 1, a word
 * before mark `end`. */
struct lb_json_member {
    uint32_t key, value, end;
};

struct lb_json_members {
    struct lb_json_member *items;
    size_t n, capacity;
};

/* What is wrong with a record; NULL: nothing. */
struct lb_json_flaw {
    const char *reason;
    uint32_t position; /* byte, as in the index */
};

void lb_json_members_fini(struct lb_json_members *members);
/* Takes the record apart; values are not looked into, but for their brackets. */
lb_status lb_json_members_of(const struct lb_json_index *index, size_t first, size_t end,
                             struct lb_json_members *members, struct lb_json_flaw *flaw,
                             struct lb_error *err) LB_MUST_USE;

/* ---- values ---- */

/* ORDER json types */
enum lb_json_type {
    LB_JSON_BOOLEAN,
    LB_JSON_INTEGER,
    LB_JSON_FLOAT,
    LB_JSON_STRING,
    LB_JSON_ANY,
    LB_JSON_NULL,
    LB_JSON_INVALID
};

const char *lb_json_type_name(enum lb_json_type type);
/* Of the first five. */
bool lb_json_type_parse(const char *name, size_t size, enum lb_json_type *type);
/* The type that a column needs for both. */
enum lb_json_type lb_json_type_join(enum lb_json_type a, enum lb_json_type b);
/* Of a whole value without blanks around it: quotes and brackets are not looked into. */
enum lb_json_type lb_json_type_of(const char *text, size_t size);
/* Whether the word is a number of the type. An integer is a float if that is exact. */
bool lb_json_integer(const char *text, size_t size, int64_t *value);
bool lb_json_float(const char *text, size_t size, double *value);
/* The string between the quotes; *text may come from the arena. *reason: what is wrong with it, or NULL. */
lb_status lb_json_string(const char **text, size_t *size, struct lb_arena *arena,
                         const char **reason, struct lb_error *err) LB_MUST_USE;
/* Appends the value as the codec has it. *reason: what is wrong with the text, or NULL; *at: where. */
lb_status lb_json_encode(const char *text, size_t size, struct lb_buf *out, const char **reason,
                         const char **at, struct lb_error *err) LB_MUST_USE;

#endif
