/* Keys of groups behind the sorter: merging what stands for equal keys, and back to columns; see group_key.h. */
#include <math.h>

#include "core/column/codec.h"
#include "core/ops/group_key.h"

static bool has_table(const char *forms, uint32_t n)
{
    return memchr(forms, LB_FORM_TABLE, n) != NULL;
}

size_t lb_group_key_details_size(const char *details, uint32_t n)
{
    uint32_t tables_size;
    if (!has_table(details, n))
        return n;
    memcpy(&tables_size, details + n, 4);
    return (size_t)n + 4 + tables_size;
}

void lb_group_key_merge(char *into, const char *other, uint32_t n)
{
    /* Equal tables have encodings of one size. */
    char *mine = into + n + 4;
    const char *theirs = other + n + 4;
    for (uint32_t c = 0; c < n; c++) {
        if (into[c] == LB_FORM_TABLE) {
            size_t size = 4 + lb_codec_size(mine + 4);
            if (memcmp(mine, theirs, size) < 0)
                memcpy(mine, theirs, size);
            mine += size;
            theirs += size;
        } else if (other[c] < into[c]) {
            into[c] = other[c];
        }
    }
}

/* The number of a sort key, see column/key.h; *size becomes the key's. */
static double key_number(const char *key, size_t *size, int64_t *integer)
{
    uint64_t bits;
    double d;
    memcpy(&bits, key + 1, 8);
    bits = __builtin_bswap64(bits);
    bits ^= bits >> 63 ? 0x8000000000000000ULL : ~(uint64_t)0;
    memcpy(&d, &bits, 8);
    *size = 9;
    *integer = 0;
    if (d >= -9223372036854775808.0 && d < 9223372036854775808.0) {
        *integer = (int64_t)d;
        if (fabs(d) >= 9007199254740992.0) {
            *integer += (int64_t)((unsigned char)key[9] << 8 | (unsigned char)key[10]);
            *size = 11;
        }
    }
    return d;
}

/* A closed string: without its end, each 00 FF as 00; *size becomes the key's. */
static lb_status closed_string(const char *key, size_t *size, struct lb_builder *out,
                               struct lb_error *err)
{
    const char *data = key + 1;
    size_t n = strlen(data);
    if (data[n + 1] == '\0') {
        *size = n + 3;
        return lb_builder_string(out, data, n, err);
    }
    struct lb_buf text = {0};
    lb_status status = LB_OK;
    for (;;) {
        status = lb_buf_append(&text, data, n, err);
        data += n + 2;
        if (status != LB_OK || data[-1] == '\0')
            break;
        status = lb_buf_append_byte(&text, '\0', err);
        if (status != LB_OK)
            break;
        n = strlen(data);
    }
    *size = (size_t)(data - key);
    if (status == LB_OK)
        status = lb_builder_string(out, text.data, text.size, err);
    lb_buf_fini(&text);
    return status;
}

lb_status lb_group_key_decode(const char *sort_key, size_t sort_key_size, const char *details,
                              uint32_t n, struct lb_batch_builder *builder, struct lb_error *err)
{
    const char *key = sort_key, *tables = details + n + 4;
    for (uint32_t c = 0; c < n; c++) {
        struct lb_builder *out;
        size_t size = 1;
        int64_t integer;
        uint32_t key_size;
        double d;
        LB_TRY(lb_batch_builder_column(builder, c, &out, err));
        switch ((enum lb_key_form)details[c]) {
        case LB_FORM_FALSE:
        case LB_FORM_TRUE:
            LB_TRY(lb_builder_bool(out, details[c] == LB_FORM_TRUE, err));
            break;
        case LB_FORM_INT:
            key_number(key, &size, &integer);
            LB_TRY(lb_builder_int(out, integer, err));
            break;
        case LB_FORM_MINUS_ZERO:
        case LB_FORM_FLOAT:
            d = key_number(key, &size, &integer);
            LB_TRY(lb_builder_float(out, details[c] == LB_FORM_FLOAT ? d : -0.0, err));
            break;
        case LB_FORM_STRING:
            if (n == 1)
                LB_TRY(lb_builder_string(out, key + 1, sort_key_size - 1, err));
            else
                LB_TRY(closed_string(key, &size, out, err));
            break;
        case LB_FORM_TABLE:
            memcpy(&key_size, tables, 4);
            size = lb_codec_size(tables + 4);
            LB_TRY(lb_builder_encoded(out, tables + 4, size, err));
            tables += 4 + size;
            size = key_size;
            break;
        default:
            LB_TRY(lb_builder_null(out, err));
        }
        key += size;
    }
    return LB_OK;
}
