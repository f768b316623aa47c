/* Functions of one row that write bytes otherwise: digests (libmd), hexadecimal digits, base64. */
#include <md5.h>
#include <sha1.h>
#include <sha2.h>

#include "core/expr/expr_private.h"

static lb_status append_hex(struct lb_buf *out, const char *digits, const void *data, size_t size,
                            struct lb_error *err)
{
    const unsigned char *bytes = data;

    LB_TRY(lb_buf_reserve(out, 2 * size, err));
    for (size_t i = 0; i < size; i++) {
        out->data[out->size++] = digits[bytes[i] >> 4];
        out->data[out->size++] = digits[bytes[i] & 15];
    }
    return LB_OK;
}

static lb_status return_hex(struct expr_call *call, const void *data, size_t size,
                            struct lb_error *err)
{
    LB_TRY(append_hex(call->scratch, "0123456789abcdef", data, size, err));
    expr_return_scratch(call);
    return LB_OK;
}

static lb_status call_md5(struct expr_call *call, const struct lb_value *args, uint32_t n,
                          struct lb_error *err)
{
    MD5_CTX context;
    uint8_t digest[MD5_DIGEST_LENGTH];

    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    MD5Init(&context);
    MD5Update(&context, (const uint8_t *)args[0].data, args[0].size);
    MD5Final(digest, &context);
    return return_hex(call, digest, sizeof digest, err);
}

static lb_status call_sha1(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    SHA1_CTX context;
    uint8_t digest[SHA1_DIGEST_LENGTH];

    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    SHA1Init(&context);
    SHA1Update(&context, (const uint8_t *)args[0].data, args[0].size);
    SHA1Final(digest, &context);
    return return_hex(call, digest, sizeof digest, err);
}

/* sha256(s); sha2(s, bits). */
static lb_status call_sha2(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    SHA2_CTX context;
    uint8_t digest[SHA512_DIGEST_LENGTH];
    const uint8_t *data = (const uint8_t *)args[0].data;
    int64_t bits = 256;

    LB_TRY(expr_want_string(call, &args[0], err));
    if (n > 1)
        LB_TRY(expr_want_integer(call, &args[1], &bits, err));
    switch (bits) {
    case 0: /* as Spark and MySQL */
    case 256:
        bits = 256;
        SHA256Init(&context);
        SHA256Update(&context, data, args[0].size);
        SHA256Final(digest, &context);
        break;
    case 384:
        SHA384Init(&context);
        SHA384Update(&context, data, args[0].size);
        SHA384Final(digest, &context);
        break;
    case 512:
        SHA512Init(&context);
        SHA512Update(&context, data, args[0].size);
        SHA512Final(digest, &context);
        break;
    default:
        return expr_expected(call, "256, 384 or 512", &args[1], err);
    }
    return return_hex(call, digest, (size_t)bits / 8, err);
}

/* Of a string its bytes, of an integer its value; in capitals, as in other systems, where digests are not. */
static lb_status call_hex(struct expr_call *call, const struct lb_value *args, uint32_t n,
                          struct lb_error *err)
{
    (void)n;
    if (args[0].tag == 'i') {
        LB_TRY(lb_buf_printf(call->scratch, err, "%llX", (unsigned long long)args[0].i));
        expr_return_scratch(call);
        return LB_OK;
    }
    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(append_hex(call->scratch, "0123456789ABCDEF", args[0].data, args[0].size, err));
    expr_return_scratch(call);
    return LB_OK;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static lb_status call_unhex(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    if (args[0].size % 2 != 0)
        return expr_expected(call, "pairs of hexadecimal digits", &args[0], err);
    for (size_t i = 0; i < args[0].size; i += 2) {
        int high = hex_digit(args[0].data[i]);
        int low = hex_digit(args[0].data[i + 1]);
        if (high < 0 || low < 0)
            return expr_expected(call, "pairs of hexadecimal digits", &args[0], err);
        LB_TRY(lb_buf_append_byte(call->scratch, (char)(high << 4 | low), err));
    }
    expr_return_scratch(call);
    return LB_OK;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static lb_status call_base64(struct expr_call *call, const struct lb_value *args, uint32_t n,
                             struct lb_error *err)
{
    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    const unsigned char *data = (const unsigned char *)args[0].data;
    LB_TRY(lb_buf_reserve(call->scratch, (args[0].size + 2) / 3 * 4, err));
    char *out = call->scratch->data;
    for (size_t i = 0; i < args[0].size; i += 3) {
        size_t left = args[0].size - i;
        unsigned bits = (unsigned)data[i] << 16 | (left > 1 ? (unsigned)data[i + 1] << 8 : 0) |
                        (left > 2 ? data[i + 2] : 0);
        *out++ = base64_digits[bits >> 18];
        *out++ = base64_digits[bits >> 12 & 63];
        *out++ = left > 1 ? base64_digits[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? base64_digits[bits & 63] : '=';
    }
    call->scratch->size = (args[0].size + 2) / 3 * 4;
    expr_return_scratch(call);
    return LB_OK;
}

static lb_status call_from_base64(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                  struct lb_error *err)
{
    size_t size = args[0].size;
    unsigned bits = 0;
    unsigned n_bits = 0;

    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    bool is_good = size % 4 == 0;
    for (int i = 0; i < 2 && is_good && size > 0 && args[0].data[size - 1] == '='; i++)
        size--;
    for (size_t i = 0; is_good && i < size; i++) {
        const char *digit = memchr(base64_digits, args[0].data[i], 64);
        if (digit == NULL) {
            is_good = false;
            break;
        }
        bits = (bits << 6 | (unsigned)(digit - base64_digits)) & 0xffffff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            LB_TRY(lb_buf_append_byte(call->scratch, (char)(bits >> n_bits), err));
        }
    }
    if (!is_good)
        return expr_expected(call, "base64", &args[0], err);
    expr_return_scratch(call);
    return LB_OK;
}

#define BYTES(text, max, function)                          \
    {                                                       \
        text, text, EXPR_SCALAR, 1, max, false, 0, function \
    }

const struct expr_class expr_digest_classes[] = {
    BYTES("md5", 1, call_md5),
    BYTES("sha1", 1, call_sha1),
    BYTES("sha256", 1, call_sha2),
    {"sha2", "sha2", EXPR_SCALAR, 2, 2, false, 0, call_sha2},
    BYTES("hex", 1, call_hex),
    BYTES("unhex", 1, call_unhex),
    BYTES("base64", 1, call_base64),
    BYTES("from_base64", 1, call_from_base64),
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
