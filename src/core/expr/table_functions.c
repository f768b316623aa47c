/* Functions of one row on tables: what a list or map holds. */
#include "core/expr/expr_private.h"

/* The value of a map's key, which is given with its size. */
static bool map_field(const struct lb_value *map, const struct lb_value *key,
                      struct lb_value *value)
{
    const char *cursor = map->data;

    for (uint32_t i = 0; i < map->count; i++) {
        struct lb_value name;
        lb_codec_next(&cursor, &name);
        lb_codec_next(&cursor, value);
        if (name.size == key->size && memcmp(name.data, key->data, key->size) == 0)
            return true;
    }
    return false;
}

/* t[key]: of a list the element of that number, from 1, a negative one counted from the last; of a map that key's value; NULL
 * where there is none. */
static lb_status call_element(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct lb_error *err)
{
    struct lb_value value;
    int64_t number = 0;

    (void)n;
    if (args[0].tag == 'm') {
        LB_TRY(expr_want_string(call, &args[1], err));
        if (map_field(&args[0], &args[1], &value))
            call->value = value;
        return LB_OK;
    }
    if (args[0].tag != 'l')
        return expr_expected(call, "table", &args[0], err);
    /* An empty table is a list, and has no key either. */
    if (args[0].count == 0 && args[1].tag == 's')
        return LB_OK;
    LB_TRY(expr_want_integer(call, &args[1], &number, err));
    if (number < 0)
        number += args[0].count + 1;
    if (number < 1 || number > args[0].count)
        return LB_OK;
    const char *cursor = args[0].data;
    for (int64_t i = 0; i < number; i++)
        lb_codec_next(&cursor, &value);
    call->value = value;
    return LB_OK;
}

/* list_contains(list, value): NULLs in the list are passed over. */
static lb_status call_list_contains(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                    struct lb_error *err)
{
    bool found = false;

    (void)n;
    if (args[0].tag != 'l')
        return expr_expected(call, "list", &args[0], err);
    const char *cursor = args[0].data;
    for (uint32_t i = 0; i < args[0].count && !found; i++) {
        struct lb_value value;
        int order = 0;
        lb_codec_next(&cursor, &value);
        if (value.tag == 'n')
            continue;
        LB_TRY(expr_compare_values(&value, &args[1], &order, err));
        found = order == 0;
    }
    expr_return_bool(call, found);
    return LB_OK;
}

const struct expr_class expr_table_classes[] = {
    {"element", "[]", EXPR_SCALAR, 2, 2, false, 0, call_element},
    {"list_contains", "list_contains", EXPR_SCALAR, 2, 2, false, 0, call_list_contains},
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
