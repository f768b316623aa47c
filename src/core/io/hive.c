/* Columns that stand in the folders of a path: see hive.h. */
#include "core/io/hive.h"

#include <string.h>

static const char nil_value[] = "__HIVE_DEFAULT_PARTITION__";

bool lb_hive_next(const char **cursor, struct lb_hive_part *part)
{
    for (const char *end; (end = strchr(*cursor, '/')) != NULL;) {
        const char *start = *cursor;
        const char *equals = memchr(start, '=', (size_t)(end - start));
        *cursor = end + 1;
        if (equals == NULL || equals == start)
            continue;
        part->name = start;
        part->name_size = (size_t)(equals - start);
        part->value = equals + 1;
        part->value_size = (size_t)(end - equals - 1);
        part->is_nil = part->value_size == sizeof nil_value - 1 &&
                       memcmp(part->value, nil_value, part->value_size) == 0;
        return true;
    }
    return false;
}

static int hexadecimal(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

lb_status lb_hive_decode(const char *text, size_t size, struct lb_buf *out, struct lb_error *err)
{
    for (size_t i = 0; i < size; i++) {
        bool may_be = text[i] == '%' && i + 2 < size;
        int high = may_be ? hexadecimal(text[i + 1]) : -1;
        int low = may_be ? hexadecimal(text[i + 2]) : -1;
        bool is_code = high >= 0 && low >= 0;
        LB_TRY(lb_buf_append_byte(out, is_code ? (char)(high << 4 | low) : text[i], err));
        if (is_code)
            i += 2;
    }
    return LB_OK;
}

bool lb_hive_is_folder(const char *name)
{
    return name[0] != '=' && strchr(name, '=') != NULL;
}
