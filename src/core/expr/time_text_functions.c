/* Functions of one row between times and text of any form: strftime, strptime. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/expr/moment.h"

/* ---- strftime ---- */

/* One conversion of a format; false: unknown. */
static bool put_field(const struct moment *m, char letter, char text[40])
{
    const int64_t *fields = m->fields;
    int hour = (int)fields[HOUR];
    int64_t year = 0;
    int64_t week = 0;
    enum { SIZE = 40 };

    moment_iso_week(m, &year, &week);
    switch (letter) {
    case 'Y':
        return snprintf(text, SIZE, "%04d", (int)fields[YEAR]) > 0;
    case 'y':
        return snprintf(text, SIZE, "%02d", (int)((fields[YEAR] % 100 + 100) % 100)) > 0;
    case 'm':
        return snprintf(text, SIZE, "%02d", (int)fields[MONTH]) > 0;
    case 'd':
        return snprintf(text, SIZE, "%02d", (int)fields[DAY]) > 0;
    case 'e':
        return snprintf(text, SIZE, "%2d", (int)fields[DAY]) > 0;
    case 'H':
        return snprintf(text, SIZE, "%02d", hour) > 0;
    case 'I':
        return snprintf(text, SIZE, "%02d", hour % 12 == 0 ? 12 : hour % 12) > 0;
    case 'p':
        return snprintf(text, SIZE, "%s", hour < 12 ? "AM" : "PM") > 0;
    case 'M':
        return snprintf(text, SIZE, "%02d", (int)fields[MINUTE]) > 0;
    case 'S':
        return snprintf(text, SIZE, "%02d", (int)fields[SECOND]) > 0;
    case 'f':
        return snprintf(text, SIZE, "%06d", (int)(m->fraction * 1e6)) > 0;
    case 'g':
        return snprintf(text, SIZE, "%03d", (int)(m->fraction * 1e3)) > 0;
    case 'j':
        return snprintf(text, SIZE, "%03d", (int)moment_day_of_year(m)) > 0;
    case 'a':
        return snprintf(text, SIZE, "%.3s", moment_day_names[moment_weekday(m)]) > 0;
    case 'A':
        return snprintf(text, SIZE, "%s", moment_day_names[moment_weekday(m)]) > 0;
    case 'b':
        return snprintf(text, SIZE, "%.3s", moment_month_names[fields[MONTH] - 1]) > 0;
    case 'B':
        return snprintf(text, SIZE, "%s", moment_month_names[fields[MONTH] - 1]) > 0;
    case 'u':
        return snprintf(text, SIZE, "%d", (int)((moment_weekday(m) + 6) % 7 + 1)) > 0;
    case 'w':
        return snprintf(text, SIZE, "%d", (int)moment_weekday(m)) > 0;
    case 'G':
        return snprintf(text, SIZE, "%04d", (int)year) > 0;
    case 'V':
        return snprintf(text, SIZE, "%02d", (int)week) > 0;
    case 's':
        return snprintf(text, SIZE, "%lld", (long long)moment_seconds(m)) > 0;
    case 'F':
        return snprintf(text, SIZE, "%04d-%02d-%02d", (int)fields[YEAR], (int)fields[MONTH],
                        (int)fields[DAY]) > 0;
    case 'T':
        return snprintf(text, SIZE, "%02d:%02d:%02d", hour, (int)fields[MINUTE],
                        (int)fields[SECOND]) > 0;
    case 'z': {
        int minutes = (int)(m->offset / 60);
        return snprintf(text, SIZE, "%c%02d%02d", minutes < 0 ? '-' : '+', abs(minutes) / 60,
                        abs(minutes) % 60) > 0;
    }
    case '%':
        return snprintf(text, SIZE, "%%") > 0;
    default:
        return false;
    }
}

static lb_status unknown_conversion(const struct expr_call *call, const struct lb_value *format,
                                    struct lb_error *err)
{
    return expr_expected(
        call, "format of %Y %m %d %H %M %S %f %j %a %A %b %B %I %p %z %F %T and the like", format,
        err);
}

/* strftime(time, format). */
static lb_status call_strftime(struct expr_call *call, const struct lb_value *args, uint32_t n,
                               struct lb_error *err)
{
    const struct lb_value *format = &args[1];
    struct moment m;
    char text[40];

    (void)n;
    LB_TRY(moment_read(call, &args[0], &m, err));
    LB_TRY(expr_want_string(call, format, err));
    for (size_t i = 0; i < format->size; i++) {
        if (format->data[i] != '%') {
            LB_TRY(lb_buf_append_byte(call->scratch, format->data[i], err));
            continue;
        }
        bool is_bare = i + 1 < format->size && format->data[i + 1] == '-'; /* %-d: without zeros */
        i += 1 + is_bare;
        if (i >= format->size || !put_field(&m, format->data[i], text))
            return unknown_conversion(call, format, err);
        const char *from = text;
        while (is_bare && (*from == '0' || *from == ' ') && from[1] != '\0')
            from++;
        LB_TRY(lb_buf_append(call->scratch, from, strlen(from), err));
    }
    expr_return_scratch(call);
    return LB_OK;
}

/* ---- strptime ---- */

struct reader {
    const char *cursor, *end;
    struct moment m;
    bool is_afternoon, has_half;
    char zone[8];
};

/* Up to n digits. */
static bool read_number(struct reader *reader, int n, int64_t *value)
{
    const char *from = reader->cursor;

    *value = 0;
    for (; reader->cursor < reader->end && reader->cursor - from < n && *reader->cursor >= '0' &&
           *reader->cursor <= '9';
         reader->cursor++)
        *value = *value * 10 + (*reader->cursor - '0');
    return reader->cursor > from;
}

/* One of the names, whole or its first three letters, in any case. */
static bool read_name(struct reader *reader, const char *const *names, int n, int64_t *number)
{
    size_t left = (size_t)(reader->end - reader->cursor);

    for (int i = 0; i < n; i++) {
        size_t size = strlen(names[i]);
        size_t same = 0;
        while (same < size && same < left &&
               (reader->cursor[same] | 0x20) == (names[i][same] | 0x20))
            same++;
        if (same < 3)
            continue;
        reader->cursor += same == size ? size : 3;
        *number = i;
        return true;
    }
    return false;
}

static bool read_zone(struct reader *reader)
{
    int64_t hours = 0;
    int64_t minutes = 0;

    if (reader->cursor < reader->end && (*reader->cursor == 'Z' || *reader->cursor == 'z')) {
        reader->cursor++;
        strcpy(reader->zone, "Z");
        return true;
    }
    if (reader->cursor == reader->end || (*reader->cursor != '+' && *reader->cursor != '-'))
        return false;
    char sign = *reader->cursor++;
    if (!read_number(reader, 2, &hours))
        return false;
    if (reader->cursor < reader->end && *reader->cursor == ':')
        reader->cursor++;
    if (reader->cursor < reader->end && !read_number(reader, 2, &minutes))
        return false;
    snprintf(reader->zone, sizeof reader->zone, "%c%02d:%02d", sign, (int)hours, (int)minutes);
    return hours <= 23 && minutes <= 59;
}

static bool read_fraction(struct reader *reader)
{
    const char *from = reader->cursor;
    int64_t digits = 0;

    if (!read_number(reader, 9, &digits))
        return false;
    reader->m.fraction = (double)digits / pow(10, (double)(reader->cursor - from));
    return true;
}

static bool read_formatted(struct reader *reader, const char *format, size_t size);

static bool read_field(struct reader *reader, char letter)
{
    struct moment *m = &reader->m;
    int64_t number = 0;

    if (memchr("HIMSfTpg", letter, 8) != NULL)
        m->has_time = m->has_second = true;
    switch (letter) {
    case 'Y':
        return read_number(reader, 4, &m->fields[YEAR]);
    case 'y': /* as POSIX: 69 to 99 are of the last century */
        if (!read_number(reader, 2, &number))
            return false;
        m->fields[YEAR] = number + (number >= 69 ? 1900 : 2000);
        return true;
    case 'm':
        return read_number(reader, 2, &m->fields[MONTH]);
    case 'e':
        while (reader->cursor < reader->end && *reader->cursor == ' ')
            reader->cursor++;
        return read_number(reader, 2, &m->fields[DAY]);
    case 'd':
        return read_number(reader, 2, &m->fields[DAY]);
    case 'H':
    case 'I':
        return read_number(reader, 2, &m->fields[HOUR]) &&
               (letter == 'H' || (m->fields[HOUR] >= 1 && m->fields[HOUR] <= 12));
    case 'M':
        return read_number(reader, 2, &m->fields[MINUTE]);
    case 'S':
        return read_number(reader, 2, &m->fields[SECOND]);
    case 'f':
    case 'g':
        return read_fraction(reader);
    case 'p':
        if (reader->end - reader->cursor < 2 || (reader->cursor[1] | 0x20) != 'm')
            return false;
        reader->is_afternoon = (*reader->cursor | 0x20) == 'p';
        reader->has_half = reader->is_afternoon || (*reader->cursor | 0x20) == 'a';
        reader->cursor += 2;
        return reader->has_half;
    case 'a':
    case 'A':
        return read_name(reader, moment_day_names, 7, &number);
    case 'b':
    case 'B':
        if (!read_name(reader, moment_month_names, 12, &number))
            return false;
        m->fields[MONTH] = number + 1;
        return true;
    case 'z':
        return read_zone(reader);
    case 'F':
        return read_formatted(reader, "%Y-%m-%d", 8);
    case 'T':
        return read_formatted(reader, "%H:%M:%S", 8);
    case '%':
        return reader->cursor < reader->end && *reader->cursor++ == '%';
    default:
        return false;
    }
}

static bool read_formatted(struct reader *reader, const char *format, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (format[i] == '%' && i + 1 < size) {
            if (!read_field(reader, format[++i]))
                return false;
        } else if (reader->cursor == reader->end || *reader->cursor++ != format[i]) {
            return false;
        }
    }
    return true;
}

enum { STRICT, TRY };

/* strptime(text, format): ISO 8601 text; try_strptime gives NULL where the text does not fit. */
static lb_status call_strptime(struct expr_call *call, const struct lb_value *args, uint32_t n,
                               struct lb_error *err)
{
    static const struct lb_value text = {.tag = 's'};
    const struct lb_value *format = &args[1];

    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(expr_want_string(call, format, err));
    for (size_t i = 0; i < format->size; i++)
        if (format->data[i] == '%' &&
            (++i == format->size || memchr("YymdeHIMSfgpaAbBzFT%", format->data[i], 20) == NULL))
            return unknown_conversion(call, format, err);
    struct reader reader = {.cursor = args[0].data, .end = args[0].data + args[0].size};
    struct moment *m = &reader.m;
    memcpy(m->fields, (int64_t[]){1970, 1, 1, 0, 0, 0}, sizeof m->fields);
    bool fits = read_formatted(&reader, format->data, format->size) && reader.cursor == reader.end;
    if (reader.has_half)
        m->fields[HOUR] = m->fields[HOUR] % 12 + (reader.is_afternoon ? 12 : 0);
    if (!fits || !moment_is_date(m->fields[YEAR], m->fields[MONTH], m->fields[DAY]) ||
        m->fields[HOUR] > 23 || m->fields[MINUTE] > 59 || m->fields[SECOND] > 60) {
        if (call->class->variant == TRY)
            return LB_OK;
        struct lb_buf expected = {0};
        lb_status status =
            lb_buf_printf(&expected, err, "text of the form '%.*s'",
                          (int)(format->size < 80 ? format->size : 80), format->data);
        if (status == LB_OK)
            status = expr_expected(call, expected.data, &args[0], err);
        lb_buf_fini(&expected);
        return status;
    }
    m->separator = 'T';
    m->zone = reader.zone;
    m->zone_size = m->has_time ? strlen(reader.zone) : 0;
    return moment_return(call, &text, m, err);
}

#define TIME_TEXT(text, code, function)                      \
    {                                                        \
        text, text, EXPR_SCALAR, 2, 2, false, code, function \
    }

const struct expr_class expr_time_text_classes[] = {
    TIME_TEXT("strftime", 0, call_strftime),
    TIME_TEXT("strptime", STRICT, call_strptime),
    TIME_TEXT("try_strptime", TRY, call_strptime),
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
