/* Moments: from values and back. The arithmetic of days is Howard Hinnant's, in the public domain. */
#include "core/expr/moment.h"

#include <math.h>
#include <stdio.h>

#include "core/base/number.h"

int64_t moment_days(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void moment_date(int64_t days, int64_t fields[3])
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

int64_t moment_month_days(int64_t year, int64_t month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && is_leap);
}

bool moment_is_date(int64_t year, int64_t month, int64_t day)
{
    return month >= 1 && month <= 12 && day >= 1 && day <= moment_month_days(year, month);
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

static bool parse(const char *cursor, const char *end, struct moment *m)
{
    int64_t *fields = m->fields;

    memset(m, 0, sizeof *m);
    m->zone = "";
    if (!digits(&cursor, end, 4, &fields[YEAR]) || !literally(&cursor, end, '-') ||
        !digits(&cursor, end, 2, &fields[MONTH]) || !literally(&cursor, end, '-') ||
        !digits(&cursor, end, 2, &fields[DAY]))
        return false;
    if (!moment_is_date(fields[YEAR], fields[MONTH], fields[DAY]))
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

lb_status moment_read(const struct expr_call *call, const struct lb_value *value, struct moment *m,
                      struct lb_error *err)
{
    if (value->tag == 's') {
        if (parse(value->data, value->data + value->size, m))
            return LB_OK;
        return expr_expected(call, "time such as 2024-01-31 or 2024-01-31T12:30:00", value, err);
    }
    if (!expr_is_number(value) || !(fabs(expr_number(value)) <= MOMENT_MAX_SECONDS))
        return expr_expected(call, "time (text, or seconds since 1970)", value, err);
    int64_t whole = value->i;
    double fraction = 0;
    if (value->tag == 'd') {
        whole = (int64_t)floor(value->d);
        fraction = value->d - (double)whole;
    }
    moment_of_seconds(whole, m);
    m->fraction = fraction;
    return LB_OK;
}

void moment_of_seconds(int64_t whole, struct moment *m)
{
    memset(m, 0, sizeof *m);
    m->zone = "";
    int64_t days = whole / 86400 - (whole % 86400 < 0);
    int64_t seconds = whole - days * 86400;
    moment_date(days, m->fields);
    m->fields[HOUR] = seconds / 3600;
    m->fields[MINUTE] = seconds / 60 % 60;
    m->fields[SECOND] = seconds % 60;
}

int64_t moment_seconds(const struct moment *m)
{
    const int64_t *fields = m->fields;

    return moment_days(fields[YEAR], fields[MONTH], fields[DAY]) * 86400 + fields[HOUR] * 3600 +
           fields[MINUTE] * 60 + fields[SECOND] - m->offset;
}

const char *const moment_month_names[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};
const char *const moment_day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};

int64_t moment_day_number(const struct moment *m)
{
    return moment_days(m->fields[YEAR], m->fields[MONTH], m->fields[DAY]);
}

/* Sunday is 0; 1970-01-01 was a Thursday. */
int64_t moment_weekday(const struct moment *m)
{
    return ((moment_day_number(m) + 4) % 7 + 7) % 7;
}

int64_t moment_day_of_year(const struct moment *m)
{
    return moment_day_number(m) - moment_days(m->fields[YEAR], 1, 1) + 1;
}

/* A week belongs to the year of its Thursday. */
void moment_iso_week(const struct moment *m, int64_t *year, int64_t *week)
{
    int64_t thursday = moment_day_number(m) - (moment_weekday(m) + 6) % 7 + 3;
    int64_t fields[3];

    moment_date(thursday, fields);
    *year = fields[YEAR];
    *week = (thursday - moment_days(fields[YEAR], 1, 1)) / 7 + 1;
}

static lb_status append_text(const struct moment *m, struct lb_buf *out, struct lb_error *err)
{
    const int64_t *fields = m->fields;
    char fraction[LB_NUMBER_BYTES];

    LB_TRY(lb_buf_printf(out, err, "%04d-%02d-%02d", (int)fields[YEAR], (int)fields[MONTH],
                         (int)fields[DAY]));
    if (!m->has_time)
        return LB_OK;
    LB_TRY(lb_buf_printf(out, err, "%c%02d:%02d", m->separator, (int)fields[HOUR],
                         (int)fields[MINUTE]));
    if (m->has_second)
        LB_TRY(lb_buf_printf(out, err, ":%02d", (int)fields[SECOND]));
    if (m->has_second && m->fraction != 0) {
        /* To the microsecond; zeros at the end go. */
        int64_t micros = (int64_t)(m->fraction * 1e6 + 0.5);
        int size =
            snprintf(fraction, sizeof fraction, ".%06d", (int)(micros > 999999 ? 999999 : micros));
        while (size > 0 && (fraction[size - 1] == '0' || fraction[size - 1] == '.'))
            size--;
        LB_TRY(lb_buf_append(out, fraction, (size_t)size, err));
    }
    return lb_buf_append(out, m->zone, m->zone_size, err);
}

lb_status moment_return(struct expr_call *call, const struct lb_value *like, const struct moment *m,
                        struct lb_error *err)
{
    if (like->tag == 'i') {
        expr_return_int(call, moment_seconds(m));
    } else if (like->tag == 'd') {
        expr_return_float(call, (double)moment_seconds(m) + m->fraction);
    } else {
        if (m->fields[YEAR] < 0 || m->fields[YEAR] > 9999)
            return lb_error_set(err, LB_ERR_USER,
                                "%s: the result is not between the years 0 and 9999",
                                call->class->symbol);
        LB_TRY(append_text(m, call->scratch, err));
        expr_return_scratch(call);
    }
    return LB_OK;
}

lb_status moment_unit(const struct expr_call *call, const struct lb_value *value, enum field *unit,
                      struct lb_error *err)
{
    static const char *const names[] = {"year",   "month",  "day",     "hour",
                                        "minute", "second", "quarter", "week"};

    for (int i = 0; value->tag == 's' && i <= WEEK; i++) {
        size_t size = strlen(names[i]);
        bool is_plural = value->size == size + 1 && value->data[size] == 's';
        if ((value->size == size || is_plural) && memcmp(names[i], value->data, size) == 0) {
            *unit = (enum field)i;
            return LB_OK;
        }
    }
    return expr_expected(call, "year, quarter, month, week, day, hour, minute or second", value,
                         err);
}

bool lb_time_seconds(const char *data, size_t size, int64_t *seconds, double *fraction)
{
    struct moment m;

    if (!parse(data, data + size, &m))
        return false;
    *seconds = moment_seconds(&m);
    *fraction = m.fraction;
    return true;
}
