/* Text made safe for a terminal: see printable.h. */
#include "core/base/printable.h"

#include <locale.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

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

static void escape(struct lb_printable *piece, uint32_t code)
{
    const char *format = code < 0x80 ? "\\x%02x" : "\\u{%x}";
    if (code == '\t' || code == '\n' || code == '\r')
        format = code == '\t' ? "\\t" : code == '\n' ? "\\n" : "\\r";
    piece->width = snprintf(piece->text, sizeof piece->text, format, (unsigned)code);
    piece->size = (size_t)piece->width;
}

size_t lb_printable_next(const char *text, size_t size, struct lb_printable *piece)
{
    uint32_t code = 0;
    pthread_once(&locale_once, make_locale);
    size_t n = decode((const unsigned char *)text, size, &code);
    if (n == 0) {
        piece->width = snprintf(piece->text, sizeof piece->text, "\\x%02x", (unsigned char)*text);
        piece->size = (size_t)piece->width;
        return 1;
    }
    if (is_control(code)) {
        escape(piece, code);
        return n;
    }
    memcpy(piece->text, text, n);
    piece->size = n;
    locale_t before = unicode != (locale_t)0 ? uselocale(unicode) : (locale_t)0;
    piece->width = code < 0x80 ? 1 : wcwidth((wchar_t)code);
    if (before != (locale_t)0)
        uselocale(before);
    if (piece->width < 0) /* not assigned: a terminal may show anything */
        escape(piece, code);
    return n;
}

lb_status lb_printable_lines(struct lb_buf *buffer, size_t from, struct lb_error *err)
{
    struct lb_buf safe = {0};
    lb_status status = LB_OK;
    for (size_t i = from; i < buffer->size && status == LB_OK;) {
        struct lb_printable piece = {.text = {buffer->data[i]}, .size = 1};
        bool is_kept = buffer->data[i] == '\n' || buffer->data[i] == '\t';
        i += is_kept ? 1 : lb_printable_next(buffer->data + i, buffer->size - i, &piece);
        status = lb_buf_append(&safe, piece.text, piece.size, err);
    }
    buffer->size = from;
    if (status == LB_OK)
        status = lb_buf_append(buffer, safe.data, safe.size, err);
    lb_buf_fini(&safe);
    return status;
}
