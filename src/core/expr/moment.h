/* Times as expressions take them: seconds since 1970 (UTC), or ISO 8601 text.
 *
 * FORMAT  YYYY-MM-DD, then perhaps T or a blank and hh:mm, :ss, a fraction of a second, and Z, +hh:mm, +hhmm or +hh.
 *         Days are those of the proleptic Gregorian calendar. */
#ifndef LB_EXPR_MOMENT_H
#define LB_EXPR_MOMENT_H

#include "core/expr/expr_private.h"

enum field { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, QUARTER, WEEK };

struct moment {
    int64_t fields[6]; /* by enum field */
    double fraction;   /* of the second */
    const char *zone;  /* text: what stands behind the seconds and fraction; "" when nothing does */
    size_t zone_size;
    int64_t offset;            /* seconds east */
    bool has_time, has_second; /* text */
    char separator;            /* text: T, t or a blank */
};

/* Seconds far beyond all history, and still exact as a float. */
#define MOMENT_MAX_SECONDS 9e15

/* Days since 1970-01-01, and back: year, month, day. */
int64_t moment_days(int64_t year, int64_t month, int64_t day);
void moment_date(int64_t days, int64_t fields[3]);
int64_t moment_month_days(int64_t year, int64_t month);
bool moment_is_date(int64_t year, int64_t month, int64_t day);

extern const char *const moment_month_names[12], *const moment_day_names[7];
/* Days since 1970-01-01; the day of the week, Sunday is 0; the day of the year, from 1; the ISO year and week. */
int64_t moment_day_number(const struct moment *m);
int64_t moment_weekday(const struct moment *m);
int64_t moment_day_of_year(const struct moment *m);
void moment_iso_week(const struct moment *m, int64_t *year, int64_t *week);

/* UTC; without zone, has_time and the like. */
void moment_of_seconds(int64_t whole, struct moment *m);
/* Of a value; the zone borrows from it. What is no time is LB_ERR_USER. */
lb_status moment_read(const struct expr_call *call, const struct lb_value *value, struct moment *m,
                      struct lb_error *err);
/* Seconds since 1970 without the fraction; minds the offset. */
int64_t moment_seconds(const struct moment *m);
/* The moment as a value of the kind of `like`: integer, float or text. */
lb_status moment_return(struct expr_call *call, const struct lb_value *like, const struct moment *m,
                        struct lb_error *err);
/* The unit that a word names, in singular or plural. */
lb_status moment_unit(const struct expr_call *call, const struct lb_value *value, enum field *unit,
                      struct lb_error *err);

#endif
