/* Functions of one row on times, the second part: weeks and quarters, steps of the calendar. */
#include "core/expr/moment.h"

enum { DAY_OF_WEEK, ISO_DAY, DAY_OF_YEAR, ISO_WEEK, ISO_YEAR, QUARTER_OF };

static lb_status call_computed(struct expr_call *call, const struct lb_value *args, uint32_t n,
                               struct lb_error *err)
{
    struct moment m;
    int64_t year = 0;
    int64_t week = 0;
    int64_t value = 0;

    (void)n;
    LB_TRY(moment_read(call, &args[0], &m, err));
    moment_iso_week(&m, &year, &week);
    switch (call->class->variant) {
    case DAY_OF_WEEK:
        value = moment_weekday(&m);
        break;
    case ISO_DAY:
        value = (moment_weekday(&m) + 6) % 7 + 1;
        break;
    case DAY_OF_YEAR:
        value = moment_day_of_year(&m);
        break;
    case ISO_WEEK:
        value = week;
        break;
    case ISO_YEAR:
        value = year;
        break;
    default:
        value = (m.fields[MONTH] - 1) / 3 + 1;
    }
    expr_return_int(call, value);
    return LB_OK;
}

enum { MONTH_NAME, DAY_NAME };

static lb_status call_name(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    struct moment m;

    (void)n;
    LB_TRY(moment_read(call, &args[0], &m, err));
    const char *name = call->class->variant == MONTH_NAME ? moment_month_names[m.fields[MONTH] - 1]
                                                          : moment_day_names[moment_weekday(&m)];
    expr_return_string(call, name, strlen(name));
    return LB_OK;
}

/* ---- dates and steps ---- */

/* Only the day, as text. */
static lb_status return_date(struct expr_call *call, struct moment *m, struct lb_error *err)
{
    static const struct lb_value text = {.tag = 's'};

    m->has_time = m->has_second = false;
    m->zone_size = 0;
    return moment_return(call, &text, m, err);
}

enum { DATE, TRY_DATE, LAST_DAY };

static lb_status call_date(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    struct moment m;

    (void)n;
    lb_status status = moment_read(call, &args[0], &m, err);
    if (status == LB_ERR_USER && call->class->variant == TRY_DATE)
        return LB_OK;
    LB_TRY(status);
    if (call->class->variant == LAST_DAY)
        m.fields[DAY] = moment_month_days(m.fields[YEAR], m.fields[MONTH]);
    return return_date(call, &m, err);
}

static lb_status call_make_date(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                struct lb_error *err)
{
    struct moment m = {.zone = ""};

    (void)n;
    for (int i = YEAR; i <= DAY; i++)
        LB_TRY(expr_want_integer(call, &args[i], &m.fields[i], err));
    if (m.fields[YEAR] < 0 || m.fields[YEAR] > 9999 ||
        !moment_is_date(m.fields[YEAR], m.fields[MONTH], m.fields[DAY]))
        return lb_error_set(err, LB_ERR_USER, "%s: there is no day %lld-%lld-%lld",
                            call->class->symbol, (long long)m.fields[YEAR],
                            (long long)m.fields[MONTH], (long long)m.fields[DAY]);
    return return_date(call, &m, err);
}

/* Seconds since 1970 as text in UTC. */
static lb_status call_to_timestamp(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                   struct lb_error *err)
{
    static const struct lb_value text = {.tag = 's'};
    struct moment m;

    (void)n;
    if (args[0].tag == 's')
        return expr_expected(call, "seconds since 1970", &args[0], err);
    LB_TRY(moment_read(call, &args[0], &m, err));
    m.has_time = m.has_second = true;
    m.separator = 'T';
    m.zone = "Z";
    m.zone_size = 1;
    return moment_return(call, &text, &m, err);
}

/* Of units from the year to the second how many seconds, or months, one has. */
static int64_t unit_seconds(enum field unit)
{
    switch (unit) {
    case WEEK:
        return 7 * 86400;
    case DAY:
        return 86400;
    case HOUR:
        return 3600;
    case MINUTE:
        return 60;
    default:
        return 1;
    }
}

static int64_t unit_months(enum field unit)
{
    return unit == YEAR ? 12 : unit == QUARTER ? 3 : unit == MONTH ? 1 : 0;
}

/* A day that its new month has not becomes its last. What is below a day is added on the clock; text that shows no
 * seconds or no time then gets them when they are needed. */
static lb_status add_units(struct expr_call *call, struct moment *m, enum field unit, int64_t count,
                           struct lb_error *err)
{
    int64_t months = unit_months(unit);
    int64_t *fields = m->fields;

    if (count > (int64_t)1 << 40 || count < -((int64_t)1 << 40))
        return lb_error_set(err, LB_ERR_USER, "%s: %lld is too many", call->class->symbol,
                            (long long)count);
    if (months > 0) {
        int64_t month = fields[YEAR] * 12 + fields[MONTH] - 1 + months * count;
        fields[YEAR] = month / 12 - (month % 12 < 0);
        fields[MONTH] = month - fields[YEAR] * 12 + 1;
        int64_t last = moment_month_days(fields[YEAR], fields[MONTH]);
        fields[DAY] = fields[DAY] > last ? last : fields[DAY];
        return LB_OK;
    }
    struct moment sum;
    moment_of_seconds(moment_seconds(m) + m->offset + count * unit_seconds(unit), &sum);
    memcpy(fields, sum.fields, sizeof sum.fields);
    if (!m->has_time && (unit == HOUR || unit == MINUTE || unit == SECOND)) {
        m->has_time = true;
        m->has_second = true;
        m->separator = 'T';
    }
    m->has_second |= m->has_time && unit == SECOND;
    return LB_OK;
}

enum { ADD = 1, SUBTRACT = -1 };

/* date_add(time, days), date_add(unit, count, time): the time stays what it was, text or number. */
static lb_status call_add(struct expr_call *call, const struct lb_value *args, uint32_t n,
                          struct lb_error *err)
{
    const struct lb_value *time = n > 2 ? &args[2] : &args[0];
    enum field unit = DAY;
    int64_t count = 0;
    struct moment m;

    if (n > 2)
        LB_TRY(moment_unit(call, &args[0], &unit, err));
    LB_TRY(expr_want_integer(call, &args[1], &count, err));
    LB_TRY(moment_read(call, time, &m, err));
    if (count == INT64_MIN)
        count++;
    LB_TRY(add_units(call, &m, unit, count * call->class->variant, err));
    return moment_return(call, time, &m, err);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Which unit since 1970 (or year 0) the moment lies in, in its own zone. */
static int64_t unit_number(const struct moment *m, enum field unit)
{
    int64_t months = unit_months(unit);

    if (months > 0)
        return floor_div(m->fields[YEAR] * 12 + m->fields[MONTH] - 1, months);
    if (unit == WEEK) /* from Monday on */
        return floor_div(moment_day_number(m) + 3, 7);
    if (unit == DAY)
        return moment_day_number(m);
    return floor_div(moment_seconds(m), unit_seconds(unit));
}

/* date_diff(unit, from, to): how many borders of units lie between. */
static lb_status call_diff(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    enum field unit = YEAR;
    struct moment from;
    struct moment to;

    (void)n;
    LB_TRY(moment_unit(call, &args[0], &unit, err));
    LB_TRY(moment_read(call, &args[1], &from, err));
    LB_TRY(moment_read(call, &args[2], &to, err));
    expr_return_int(call, unit_number(&to, unit) - unit_number(&from, unit));
    return LB_OK;
}

#define CALENDAR(text, min, max, code, function)                 \
    {                                                            \
        text, text, EXPR_SCALAR, min, max, false, code, function \
    }

const struct expr_class expr_calendar_classes[] = {
    CALENDAR("dayofweek", 1, 1, DAY_OF_WEEK, call_computed),
    CALENDAR("isodow", 1, 1, ISO_DAY, call_computed),
    CALENDAR("dayofyear", 1, 1, DAY_OF_YEAR, call_computed),
    CALENDAR("week", 1, 1, ISO_WEEK, call_computed),
    CALENDAR("isoyear", 1, 1, ISO_YEAR, call_computed),
    CALENDAR("quarter", 1, 1, QUARTER_OF, call_computed),
    CALENDAR("monthname", 1, 1, MONTH_NAME, call_name),
    CALENDAR("dayname", 1, 1, DAY_NAME, call_name),
    CALENDAR("date", 1, 1, DATE, call_date),
    CALENDAR("try_date", 1, 1, TRY_DATE, call_date),
    CALENDAR("last_day", 1, 1, LAST_DAY, call_date),
    CALENDAR("make_date", 3, 3, 0, call_make_date),
    CALENDAR("to_timestamp", 1, 1, 0, call_to_timestamp),
    CALENDAR("date_add", 2, 3, ADD, call_add),
    CALENDAR("date_sub", 2, 3, SUBTRACT, call_add),
    CALENDAR("date_diff", 3, 3, 0, call_diff),
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
