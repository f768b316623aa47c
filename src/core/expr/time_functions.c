/* Functions of one row on times: their fields, seconds, starts of units. year, hour... and date_trunc read the fields as they
 * are written; only epoch minds the zone (none: UTC). date_trunc of text gives text of the same form. */
#include "core/expr/moment.h"

static lb_status call_field(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    struct moment m;

    (void)n;
    LB_TRY(moment_read(call, &args[0], &m, err));
    expr_return_int(call, m.fields[call->class->variant]);
    return LB_OK;
}

static lb_status call_epoch(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    struct moment m;

    (void)n;
    LB_TRY(moment_read(call, &args[0], &m, err));
    if (expr_is_number(&args[0]))
        call->value = args[0];
    else if (m.fraction != 0)
        expr_return_float(call, (double)moment_seconds(&m) + m.fraction);
    else
        expr_return_int(call, moment_seconds(&m));
    return LB_OK;
}

static void truncate_moment(struct moment *m, enum field unit)
{
    int64_t *fields = m->fields;
    enum field kept = unit == QUARTER ? MONTH : unit == WEEK ? DAY : unit;

    if (unit == QUARTER)
        fields[MONTH] -= (fields[MONTH] - 1) % 3;
    if (unit == WEEK) { /* begins on Monday; 1970-01-01 was a Thursday */
        int64_t days = moment_days(fields[YEAR], fields[MONTH], fields[DAY]);
        int64_t weekday = ((days + 3) % 7 + 7) % 7;
        moment_date(days - weekday, fields);
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
    LB_TRY(moment_unit(call, &args[0], &unit, err));
    LB_TRY(moment_read(call, &args[1], &m, err));
    truncate_moment(&m, unit);
    return moment_return(call, &args[1], &m, err);
}

/* time_like(time, sample): the time as one of the sample's kind, in its zone and form; what its form has no room for is
 * added. */
static lb_status call_like(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    struct moment sample, m;

    (void)n;
    LB_TRY(moment_read(call, &args[1], &sample, err));
    if (expr_is_number(&args[0]) && expr_is_number(&args[1])) {
        call->value = args[0];
        return LB_OK;
    }
    LB_TRY(moment_read(call, &args[0], &m, err));
    double fraction = m.fraction;
    moment_of_seconds(moment_seconds(&m) + sample.offset, &m);
    m.fraction = fraction;
    m.offset = sample.offset;
    m.zone = sample.zone;
    m.zone_size = sample.zone_size;
    m.separator = sample.has_time ? sample.separator : 'T';
    m.has_second = sample.has_second || m.fields[SECOND] != 0 || fraction != 0;
    m.has_time = sample.has_time || m.has_second || m.fields[HOUR] != 0 || m.fields[MINUTE] != 0;
    m.has_second = m.has_second || (m.has_time && !sample.has_time);
    return moment_return(call, &args[1], &m, err);
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
    {"time_like", "time_like", EXPR_SCALAR, 2, 2, false, 0, call_like},
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
