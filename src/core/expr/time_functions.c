/* Functions of one row on times: seconds since 1970 (UTC), or ISO 8601 text.
 *
 * FORMAT  YYYY-MM-DD, then perhaps T or a blank and hh:mm, :ss, a fraction of a second, and Z, +hh:mm, +hhmm or +hh.
 *         year, hour... and date_trunc read the fields as they are written; only epoch minds the zone (none: UTC).
 *         date_trunc of text gives text of the same form. Days are those of the proleptic Gregorian calendar
 *         (the arithmetic is Howard Hinnant's, in the public domain). */
#include <math.h>

#include "core/base/number.h"
#include "core/expr/expr_private.h"

enum field { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, QUARTER, WEEK };

struct moment {
    int64_t fields[6]; /* by enum field */
    double fraction;   /* of the second */
    const char *zone;  /* text: what stands behind the seconds and fraction */
    size_t zone_size;
    int64_t offset;            /* seconds east */
    bool has_time, has_second; /* text */
    char separator;            /* text: T, t or a blank */
};

static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int64_t fields[3])
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t shifted = (5 * of_year + 2) / 153;
    fields[DAY] = of_year - (153 * shifted + 2) / 5 + 1;
    fields[MONTH] = shifted < 10 ? shifted + 3 : shifted - 9;
    fields[YEAR] = year + era * 400 + (fields[MONTH] <= 2);
}

/* n digits at *cursor. */
static bool digits(const char **cursor, const char *end, int n, int64_t *value)
{
    *value = 0;
    for (int i = 0; i < n; i++) {
        if (*cursor == end || **cursor < '0' || **cursor > '9')
            return false;
        *value = *value * 10 + (*(*cursor)++ - '0');
    }
    return true;
}

static bool literally(const char **cursor, const char *end, char c)
{
    if (*cursor == end || **cursor != c)
        return false;
    (*cursor)++;
    return true;
}

static bool parse_zone(const char **cursor, const char *end, int64_t *offset)
{
    int64_t hours = 0;
    int64_t minutes = 0;
    bool is_west;

    *offset = 0;
    if (*cursor == end || literally(cursor, end, 'Z') || literally(cursor, end, 'z'))
        return true;
    is_west = **cursor == '-';
    if (!literally(cursor, end, '-') && !literally(cursor, end, '+'))
        return false;
    if (!digits(cursor, end, 2, &hours))
        return false;
    if (*cursor != end) {
        literally(cursor, end, ':');
        if (!digits(cursor, end, 2, &minutes))
            return false;
    }
    *offset = (hours * 3600 + minutes * 60) * (is_west ? -1 : 1);
    return hours <= 23 && minutes <= 59;
}

static bool parse_text(const char *cursor, const char *end, struct moment *m)
{
    static const int month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t *fields = m->fields;

    memset(m, 0, sizeof *m);
    if (!digits(&cursor, end, 4, &fields[YEAR]) || !literally(&cursor, end, '-') ||
        !digits(&cursor, end, 2, &fields[MONTH]) || !literally(&cursor, end, '-') ||
        !digits(&cursor, end, 2, &fields[DAY]))
        return false;
    bool is_leap = fields[YEAR] % 4 == 0 && (fields[YEAR] % 100 != 0 || fields[YEAR] % 400 == 0);
    if (fields[MONTH] < 1 || fields[MONTH] > 12 || fields[DAY] < 1 ||
        fields[DAY] > month_days[fields[MONTH] - 1] ||
        (fields[MONTH] == 2 && fields[DAY] == 29 && !is_leap))
        return false;
    if (cursor == end)
        return true;
    m->separator = *cursor;
    m->has_time = true;
    if (!literally(&cursor, end, 'T') && !literally(&cursor, end, 't') &&
        !literally(&cursor, end, ' '))
        return false;
    if (!digits(&cursor, end, 2, &fields[HOUR]) || !literally(&cursor, end, ':') ||
        !digits(&cursor, end, 2, &fields[MINUTE]))
        return false;
    if (literally(&cursor, end, ':')) {
        m->has_second = true;
        if (!digits(&cursor, end, 2, &fields[SECOND]))
            return false;
        if (cursor < end && (*cursor == '.' || *cursor == ',')) {
            int64_t digit;
            const char *first = ++cursor;
            char text[24] = "0.";
            size_t size = 2;
            while (digits(&cursor, end, 1, &digit))
                if (size < sizeof text)
                    text[size++] = (char)('0' + digit);
            if (cursor == first || !lb_parse_float(text, size, &m->fraction))
                return false;
        }
    }
    m->zone = cursor;
    m->zone_size = (size_t)(end - cursor);
    return fields[HOUR] <= 23 && fields[MINUTE] <= 59 && fields[SECOND] <= 60 &&
           parse_zone(&cursor, end, &m->offset) && cursor == end;
}

/* Seconds far beyond all history, and still exact as a float. */
static const double MAX_SECONDS = 9e15;

static lb_status read_moment(const struct expr_call *call, const struct lb_value *value,
                             struct moment *m, struct lb_error *err)
{
    if (value->tag == 's') {
        if (parse_text(value->data, value->data + value->size, m))
            return LB_OK;
        return expr_expected(call, "time such as 2024-01-31 or 2024-01-31T12:30:00", value, err);
    }
    if (!expr_is_number(value) || !(fabs(expr_number(value)) <= MAX_SECONDS))
        return expr_expected(call, "time (text, or seconds since 1970)", value, err);
    memset(m, 0, sizeof *m);
    int64_t whole = value->i;
    if (value->tag == 'd') {
        whole = (int64_t)floor(value->d);
        m->fraction = value->d - (double)whole;
    }
    int64_t days = whole / 86400 - (whole % 86400 < 0);
    int64_t seconds = whole - days * 86400;
    date_of(days, m->fields);
    m->fields[HOUR] = seconds / 3600;
    m->fields[MINUTE] = seconds / 60 % 60;
    m->fields[SECOND] = seconds % 60;
    return LB_OK;
}

static int64_t seconds_of(const struct moment *m)
{
    const int64_t *fields = m->fields;

    return days_of(fields[YEAR], fields[MONTH], fields[DAY]) * 86400 + fields[HOUR] * 3600 +
           fields[MINUTE] * 60 + fields[SECOND] - m->offset;
}

static lb_status call_field(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    struct moment m;

    (void)n;
    LB_TRY(read_moment(call, &args[0], &m, err));
    expr_return_int(call, m.fields[call->class->variant]);
    return LB_OK;
}

static lb_status call_epoch(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    struct moment m;

    (void)n;
    LB_TRY(read_moment(call, &args[0], &m, err));
    if (expr_is_number(&args[0]))
        call->value = args[0];
    else if (m.fraction != 0)
        expr_return_float(call, (double)seconds_of(&m) + m.fraction);
    else
        expr_return_int(call, seconds_of(&m));
    return LB_OK;
}

static lb_status unit_of(const struct expr_call *call, const struct lb_value *value,
                         enum field *unit, struct lb_error *err)
{
    static const char *const names[] = {"year",   "month",  "day",     "hour",
                                        "minute", "second", "quarter", "week"};

    for (int i = 0; value->tag == 's' && i <= WEEK; i++)
        if (strlen(names[i]) == value->size && memcmp(names[i], value->data, value->size) == 0) {
            *unit = (enum field)i;
            return LB_OK;
        }
    return expr_expected(call, "year, quarter, month, week, day, hour, minute or second", value,
                         err);
}

static void truncate_moment(struct moment *m, enum field unit)
{
    int64_t *fields = m->fields;
    enum field kept = unit == QUARTER ? MONTH : unit == WEEK ? DAY : unit;

    if (unit == QUARTER)
        fields[MONTH] -= (fields[MONTH] - 1) % 3;
    if (unit == WEEK) { /* begins on Monday; 1970-01-01 was a Thursday */
        int64_t days = days_of(fields[YEAR], fields[MONTH], fields[DAY]);
        int64_t weekday = ((days + 3) % 7 + 7) % 7;
        date_of(days - weekday, fields);
    }
    for (int i = kept + 1; i <= SECOND; i++)
        fields[i] = i <= DAY ? 1 : 0;
    m->fraction = 0;
}

/* date_trunc(unit, time): text gives text, an integer an integer, a float a float. */
static lb_status call_trunc(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    struct moment m;
    enum field unit = YEAR;

    (void)n;
    LB_TRY(unit_of(call, &args[0], &unit, err));
    LB_TRY(read_moment(call, &args[1], &m, err));
    truncate_moment(&m, unit);
    if (args[1].tag == 'i') {
        expr_return_int(call, seconds_of(&m));
        return LB_OK;
    }
    if (args[1].tag == 'd') {
        expr_return_float(call, (double)seconds_of(&m));
        return LB_OK;
    }
    const int64_t *fields = m.fields;
    /* The week of 0000-01-01 begins in the year before. */
    if (fields[YEAR] < 0)
        return expr_expected(call, "time after year 0", &args[1], err);
    LB_TRY(lb_buf_printf(call->scratch, err, "%04d-%02d-%02d", (int)fields[YEAR],
                         (int)fields[MONTH], (int)fields[DAY]));
    if (m.has_time)
        LB_TRY(lb_buf_printf(call->scratch, err, "%c%02d:%02d", m.separator, (int)fields[HOUR],
                             (int)fields[MINUTE]));
    if (m.has_second)
        LB_TRY(lb_buf_printf(call->scratch, err, ":%02d", (int)fields[SECOND]));
    if (m.has_time)
        LB_TRY(lb_buf_append(call->scratch, m.zone, m.zone_size, err));
    expr_return_scratch(call);
    return LB_OK;
}

#define FIELD(text, code)                                      \
    {                                                          \
        text, text, EXPR_SCALAR, 1, 1, false, code, call_field \
    }

const struct expr_class expr_time_classes[] = {
    FIELD("year", YEAR),
    FIELD("month", MONTH),
    FIELD("day", DAY),
    FIELD("hour", HOUR),
    FIELD("minute", MINUTE),
    FIELD("second", SECOND),
    {"epoch", "epoch", EXPR_SCALAR, 1, 1, false, 0, call_epoch},
    {"date_trunc", "date_trunc", EXPR_SCALAR, 2, 2, false, 0, call_trunc},
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
