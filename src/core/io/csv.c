/* CSV text: dialects, records and fields. csv.h has the contracts, csv_body.h the vector code. */
#include "core/io/csv.h"

#include <string.h>

#include "core/io/text_kernels.h"

lb_status lb_csv_dialect_set(struct lb_csv_dialect *dialect, const char *separator,
                             size_t separator_size, const char *quote, size_t quote_size,
                             struct lb_error *err)
{
    if (separator_size == 0 || separator_size > LB_CSV_SEPARATOR_BYTES)
        return lb_error_set(err, LB_ERR_USAGE, "the separator must have 1 to %d bytes",
                            LB_CSV_SEPARATOR_BYTES);
    if (quote_size > 1)
        return lb_error_set(err, LB_ERR_USAGE, "the quote must be one byte, or \"\" for none");
    if (memchr(separator, '\n', separator_size) != NULL ||
        memchr(separator, '\r', separator_size) != NULL ||
        (quote_size == 1 && (*quote == '\n' || *quote == '\r')))
        return lb_error_set(err, LB_ERR_USAGE,
                            "neither separator nor quote may have a newline or '\\r'");
    if (quote_size == 1 && memchr(separator, *quote, separator_size) != NULL)
        return lb_error_set(err, LB_ERR_USAGE, "the separator has the quote in it");
    memcpy(dialect->separator, separator, separator_size);
    dialect->separator_size = separator_size;
    dialect->quote = quote_size == 1 ? (unsigned char)*quote : -1;
    return LB_OK;
}

/* Separators of several bytes are rare: byte by byte. */
static void index_long(const struct lb_csv_dialect *dialect, const char *data, size_t size,
                       struct lb_csv_index *index)
{
    size_t found = 0, width = dialect->separator_size;
    uint32_t quoted = 0;
    bool inside = false;
    index->n_records = 0;
    index->is_full = true;
    for (size_t at = 0; at < size; at++) {
        if ((unsigned char)data[at] == dialect->quote) {
            inside = !inside;
            quoted = LB_CSV_QUOTED;
            continue;
        }
        if (inside)
            continue;
        if (data[at] == '\n') {
            if (found == index->capacity)
                return;
            index->positions[found++] = (uint32_t)at;
            index->ends[index->n_records++] = (uint32_t)found | quoted;
            quoted = 0;
            if (index->n_records == index->max_records)
                return;
        } else if (size - at >= width && memcmp(data + at, dialect->separator, width) == 0) {
            if (found == index->capacity)
                return;
            index->positions[found++] = (uint32_t)at;
            at += width - 1;
        }
    }
    index->is_full = false;
}

void lb_csv_index(const struct lb_csv_dialect *dialect, const char *data, size_t size,
                  struct lb_csv_index *index)
{
    if (dialect->separator_size > 1) {
        index_long(dialect, data, size, index);
        return;
    }
    index->n_records = 0;
    index->is_full = size > 0; /* until the kernel has seen the last block */
    lb_text_kernels_in_use()->csv_index(data, size, dialect->separator[0], dialect->quote, index);
}

size_t lb_csv_last_end(const struct lb_csv_dialect *dialect, const char *data, size_t size,
                       bool *is_inside)
{
    return lb_text_kernels_in_use()->csv_last_end(data, size, dialect->quote, is_inside);
}

size_t lb_csv_first_end(const struct lb_csv_dialect *dialect, const char *data, size_t size,
                        bool *is_inside)
{
    bool inside = *is_inside;
    size_t end = 0;
    for (size_t at = 0; at < size && end == 0; at++) {
        if ((unsigned char)data[at] == dialect->quote)
            inside = !inside;
        else if (data[at] == '\n' && !inside)
            end = at + 1;
    }
    *is_inside = inside;
    return end;
}

size_t lb_csv_count(const char *data, size_t size, char byte)
{
    return lb_text_kernels_in_use()->count_bytes(data, size, byte);
}

bool lb_csv_field_is_sound(const struct lb_csv_dialect *dialect, const char *text, size_t size)
{
    if (dialect->quote < 0 || size == 0)
        return true;
    char quote = (char)dialect->quote;
    if (text[0] != quote)
        return memchr(text, quote, size) == NULL;
    if (size < 2 || text[size - 1] != quote)
        return false;
    const char *end = text + size - 1;
    for (const char *at = text + 1; (at = memchr(at, quote, (size_t)(end - at))) != NULL; at += 2)
        if (at + 1 >= end || at[1] != quote)
            return false;
    return true;
}

lb_status lb_csv_field_text(const struct lb_csv_dialect *dialect, const char **text, size_t *size,
                            bool *is_quoted, struct lb_arena *arena, struct lb_error *err)
{
    *is_quoted = dialect->quote >= 0 && *size >= 2 && (unsigned char)(*text)[0] == dialect->quote;
    if (!*is_quoted)
        return LB_OK;
    char quote = (char)dialect->quote;
    const char *from = *text + 1;
    const char *end = from + *size - 2;
    *text = from;
    *size -= 2;
    const char *at = memchr(from, quote, *size);
    if (at == NULL)
        return LB_OK;
    char *copy = lb_arena_alloc(arena, *size + LB_TEXT_PADDING);
    if (copy == NULL)
        return lb_error_memory(err, "a quoted field", *size);
    char *to = copy;
    while (at != NULL) { /* the first of two quotes goes, the second stays */
        memcpy(to, from, (size_t)(at - from));
        to += at - from;
        *to++ = quote;
        from = at + 2;
        at = from < end ? memchr(from, quote, (size_t)(end - from)) : NULL;
    }
    if (from < end) {
        memcpy(to, from, (size_t)(end - from));
        to += end - from;
    }
    memset(to, 0, LB_TEXT_PADDING / 4); /* views are made from loads of 16 bytes */
    *text = copy;
    *size = (size_t)(to - copy);
    return LB_OK;
}

size_t lb_csv_bom(const char *data, size_t size)
{
    return size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}
