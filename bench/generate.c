/* Makes the benchmark's inputs: the same arguments always give the same bytes.
 *
 * CALLS  generate words|log|lines|pairs|groups|users|purchases|purchases_hot|events COUNT > file
 *
 * IDEA   words  COUNT words out of 200 000 distinct ones of 2 to 12 lower-case letters, 10 to 20 a line,
 *               drawn like words of a language: the word of rank r (from 0) with weight 1 / (r + 10).
 *        log    COUNT lines in the common log format; 5000 URLs, that of rank r with
 *               weight 1 / (r + 1); field 7 is the URL.
 *        lines  COUNT lines of 98 random letters and digits, 99 bytes with the newline.
 *        pairs  COUNT lines `key<TAB>value` with COUNT / 10 keys, each as likely as the others, and
 *               integers from 0 to 99999.
 *        groups CSV of the db-benchmark (G1, K = 100, no nulls, unsorted): id1 and id2 of 100 strings, id3
 *               of COUNT / 100 strings, id4 and id5 of 100 integers, id6 of COUNT / 100 integers,
 *               v1 in 1 to 5, v2 in 1 to 15, v3 in 0 to 100 with six decimals.
 *        users  CSV of COUNT users: user_id in random order, name, age in 18 to 90, country, city.
 *        purchases  CSV of COUNT purchases of COUNT / 10 users: purchase_id, user_id, category (40),
 *               amount with two decimals, ts in seconds (90 days, increasing).
 *        purchases_hot  the same, 90 % of them by user 1.
 *        events JSON lines of COUNT objects with 8 fields: integers, strings, a float, a boolean, a list
 *               and a nested object.
 *        Weighted draws use Walker's alias table: one random number and one look-up each.
 * MEMORY one output buffer and the tables of words; nothing grows with COUNT. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_WORDS = 200000, N_URLS = 5000, N_HOSTS = 20000, LINE_BYTES = 98, OUT_BYTES = 1 << 20 };

struct text {
    char data[32];
    uint8_t size;
};

/* Walker's alias table: entry i keeps a draw with probability keep / 2^32, else gives it to alias. */
struct draw {
    uint32_t n;
    uint32_t *keep;
    uint32_t *alias;
};

static uint64_t random_state;
static char out[OUT_BYTES + 4096];
static size_t out_size;

static void fail(const char *message)
{
    fprintf(stderr, "generate: %s\n", message);
    exit(1);
}

static void *get_memory(size_t n, size_t size)
{
    void *memory = calloc(n, size);
    if (!memory)
        fail("out of memory");
    return memory;
}

/* splitmix64: one addition and two multiplications a number, good enough for test data. */
static uint64_t next_random(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t random_below(uint32_t n)
{
    return (uint32_t)(((next_random() >> 32) * n) >> 32);
}

static void flush(void)
{
    if (fwrite(out, 1, out_size, stdout) != out_size)
        fail("cannot write");
    out_size = 0;
}

/* Room for 4096 more bytes is always there after this. */
static void end_line(void)
{
    out[out_size++] = '\n';
    if (out_size >= OUT_BYTES)
        flush();
}

static void put(const char *data, size_t size)
{
    memcpy(out + out_size, data, size);
    out_size += size;
}

static void put_number(uint64_t number)
{
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n)
        out[out_size++] = digits[--n];
}

static void put_two_digits(uint32_t number)
{
    out[out_size++] = (char)('0' + number / 10);
    out[out_size++] = (char)('0' + number % 10);
}

/* Weights 1 / (rank + flat), rank from 0. */
static void make_draw(struct draw *draw, uint32_t n, uint32_t flat)
{
    double *share = get_memory(n, sizeof *share);
    uint32_t *small = get_memory(n, sizeof *small), *large = get_memory(n, sizeof *large);
    uint32_t n_small = 0, n_large = 0;
    double sum = 0;
    draw->n = n;
    draw->keep = get_memory(n, sizeof *draw->keep);
    draw->alias = get_memory(n, sizeof *draw->alias);
    for (uint32_t i = 0; i < n; i++)
        sum += 1.0 / (i + flat);
    for (uint32_t i = 0; i < n; i++) {
        share[i] = n / sum / (i + flat);
        if (share[i] < 1)
            small[n_small++] = i;
        else
            large[n_large++] = i;
    }
    while (n_small && n_large) {
        uint32_t less = small[--n_small], more = large[n_large - 1];
        draw->keep[less] = (uint32_t)(share[less] * 4294967295.0);
        draw->alias[less] = more;
        share[more] -= 1 - share[less];
        if (share[more] < 1) {
            n_large--;
            small[n_small++] = more;
        }
    }
    while (n_large)
        draw->keep[large[--n_large]] = UINT32_MAX;
    while (n_small)
        draw->keep[small[--n_small]] = UINT32_MAX;
    free(share);
    free(small);
    free(large);
}

static uint32_t draw_next(const struct draw *draw)
{
    uint64_t r = next_random();
    uint32_t i = (uint32_t)(((r >> 32) * draw->n) >> 32);
    return (uint32_t)r <= draw->keep[i] ? i : draw->alias[i];
}

/* Fills text with a word of the given length that is not yet in the table of 2^19 slots. */
static bool new_word(struct text *text, uint8_t size, const struct text **slots)
{
    uint64_t hash = 14695981039346656037u;
    for (uint8_t i = 0; i < size; i++) {
        text->data[i] = (char)('a' + random_below(26));
        hash = (hash ^ (uint8_t)text->data[i]) * 1099511628211u;
    }
    text->size = size;
    size_t slot = (hash ^ (hash >> 32)) & 0x7ffff;
    for (; slots[slot]; slot = (slot + 1) & 0x7ffff)
        if (slots[slot]->size == size && memcmp(slots[slot]->data, text->data, size) == 0)
            return false;
    slots[slot] = text;
    return true;
}

static struct text *make_words(void)
{
    /* Of 100 words so many have 2, 3 ... 12 letters; the mean is 5.8. A length whose words are
     * nearly used up gives a longer word. */
    static const uint8_t shares[11] = {3, 12, 18, 19, 15, 12, 8, 5, 4, 2, 2};
    struct text *words = get_memory(N_WORDS, sizeof *words);
    const struct text **slots = get_memory(0x80000, sizeof *slots);
    for (uint32_t i = 0; i < N_WORDS; i++) {
        uint8_t size = 2;
        uint32_t tries = 0;
        for (uint32_t r = random_below(100); r >= shares[size - 2]; size++)
            r -= shares[size - 2];
        while (!new_word(&words[i], size, slots))
            if (++tries % 8 == 0 && size < 12)
                size++;
    }
    free(slots);
    return words;
}

static void generate_words(uint64_t count)
{
    struct text *words = make_words();
    struct draw draw;
    make_draw(&draw, N_WORDS, 10);
    uint32_t left = 0;
    for (uint64_t i = 0; i < count; i++) {
        const struct text *word = &words[draw_next(&draw)];
        if (left == 0)
            left = 10 + random_below(11);
        put(word->data, word->size);
        if (--left == 0 || i + 1 == count)
            end_line();
        else
            out[out_size++] = ' ';
    }
}

static void make_url(struct text *url, uint32_t number)
{
    static const char *const places[] = {"/shop/item/",    "/blog/2024/post-", "/images/icon",
                                         "/api/v1/users/", "/docs/page",       "/static/js/chunk."};
    static const char *const ends[] = {"", ".html", ".png", "/edit", ".html", ".js"};
    uint32_t kind = random_below(6);
    int size = snprintf(url->data, sizeof url->data, "%s%u%s", places[kind], number, ends[kind]);
    url->size = (uint8_t)size;
}

static void generate_log(uint64_t count)
{
    static const char *const methods[] = {"GET", "GET", "GET", "GET", "GET", "GET", "POST", "HEAD"};
    static const char *const statuses[] = {"200", "200", "200", "200", "200", "304", "404", "500"};
    static const char *const months[] = {"Jan", "Feb", "Mar"};
    struct text *urls = get_memory(N_URLS, sizeof *urls);
    struct draw url_draw, host_draw;
    make_draw(&url_draw, N_URLS, 1);
    make_draw(&host_draw, N_HOSTS, 10);
    for (uint32_t i = 0; i < N_URLS; i++)
        make_url(&urls[i], i);
    for (uint64_t i = 0; i < count; i++) {
        uint32_t host = draw_next(&host_draw) * 2654435761u;
        uint64_t second = i * 7776000 / count; /* 90 days */
        uint32_t day = (uint32_t)(second / 86400);
        const struct text *url = &urls[draw_next(&url_draw)];
        const char *method = methods[random_below(8)];
        for (int part = 0; part < 4; part++) {
            put_number((host >> (8 * part)) & 0xff);
            out[out_size++] = part < 3 ? '.' : ' ';
        }
        put("- - [", 5);
        put_two_digits(day % 30 + 1);
        out[out_size++] = '/';
        put(months[day / 30], 3);
        put("/2024:", 6);
        put_two_digits((uint32_t)(second / 3600 % 24));
        out[out_size++] = ':';
        put_two_digits((uint32_t)(second / 60 % 60));
        out[out_size++] = ':';
        put_two_digits((uint32_t)(second % 60));
        put(" +0000] \"", 9);
        put(method, strlen(method));
        out[out_size++] = ' ';
        put(url->data, url->size);
        put(" HTTP/1.1\" ", 11);
        put(statuses[random_below(8)], 3);
        out[out_size++] = ' ';
        put_number(random_below(1000) * (uint64_t)random_below(100));
        end_line();
    }
}

static void generate_lines(uint64_t count)
{
    static const char letters[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-";
    for (uint64_t i = 0; i < count; i++) {
        for (uint32_t n = 0; n < LINE_BYTES;) {
            uint64_t r = next_random();
            for (uint32_t k = 0; k < 10 && n < LINE_BYTES; k++, n++, r >>= 6)
                out[out_size++] = letters[r & 63];
        }
        end_line();
    }
}

static void generate_pairs(uint64_t count)
{
    uint32_t n_keys = count < 10 ? 1 : (uint32_t)(count / 10);
    for (uint64_t i = 0; i < count; i++) {
        put("user", 4);
        put_number(random_below(n_keys));
        out[out_size++] = '\t';
        put_number(random_below(100000));
        end_line();
    }
}

static void put_text(const char *text)
{
    put(text, strlen(text));
}

/* The number with leading zeros, `width` digits. */
static void put_padded(uint64_t number, int width)
{
    for (int i = width - 1; i >= 0; i--, number /= 10)
        out[out_size + (size_t)i] = (char)('0' + number % 10);
    out_size += (size_t)width;
}

/* number / 10^places, as R and Python write it: no zeros at the end, no point before nothing. */
static void put_decimal(uint64_t number, int places)
{
    uint64_t unit = 1;
    for (int i = 0; i < places; i++)
        unit *= 10;
    put_number(number / unit);
    uint64_t rest = number % unit;
    if (!rest)
        return;
    out[out_size++] = '.';
    put_padded(rest, places);
    while (out[out_size - 1] == '0')
        out_size--;
}

static void generate_groups(uint64_t count)
{
    const uint32_t few = 100, many = count < 100 ? 1 : (uint32_t)(count / 100);
    put_text("id1,id2,id3,id4,id5,id6,v1,v2,v3");
    end_line();
    for (uint64_t i = 0; i < count; i++) {
        put_text("id");
        put_padded(1 + random_below(few), 3);
        put_text(",id");
        put_padded(1 + random_below(few), 3);
        put_text(",id");
        put_padded(1 + random_below(many), 10);
        const uint32_t integers[] = {few, few, many, 5, 15};
        for (int k = 0; k < 5; k++) {
            out[out_size++] = ',';
            put_number(1 + random_below(integers[k]));
        }
        out[out_size++] = ',';
        put_decimal(random_below(100000001), 6);
        end_line();
    }
}

static const char *const countries[] = {"SE", "NO", "DK", "FI", "DE", "FR", "IT", "ES", "PT", "NL",
                                        "BE", "AT", "CH", "PL", "CZ", "GB", "IE", "US", "CA", "JP"};

static void generate_users(uint64_t count)
{
    /* A walk over 0 .. count-1 in steps that share no divisor with count visits each once. */
    uint64_t step = count * 618 / 1000 | 1, at = 0;
    for (uint64_t a = step, b = count; b; a = step, b = count) {
        while (b) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            break;
        step += 2;
    }
    put_text("user_id,name,age,country,city");
    end_line();
    for (uint64_t i = 0; i < count; i++, at = (at + step) % count) {
        put_number(at + 1);
        put_text(",user ");
        put_padded(at + 1, 8);
        out[out_size++] = ',';
        put_number(18 + random_below(73));
        out[out_size++] = ',';
        put_text(countries[random_below(20)]);
        put_text(",city ");
        put_number(random_below(500));
        end_line();
    }
}

static void put_purchases(uint64_t count, bool hot)
{
    const uint32_t users = count < 10 ? 1 : (uint32_t)(count / 10);
    put_text("purchase_id,user_id,category,amount,ts");
    end_line();
    for (uint64_t i = 0; i < count; i++) {
        uint32_t user = 1 + random_below(users);
        put_number(i + 1);
        out[out_size++] = ',';
        put_number(hot && random_below(10) ? 1 : user);
        put_text(",category ");
        put_number(random_below(40));
        out[out_size++] = ',';
        put_decimal(1 + random_below(100000), 2);
        out[out_size++] = ',';
        put_number(1704067200 + i * 7776000 / count);
        end_line();
    }
}

static void generate_purchases(uint64_t count)
{
    put_purchases(count, false);
}

static void generate_purchases_hot(uint64_t count)
{
    put_purchases(count, true);
}

static void generate_events(uint64_t count)
{
    static const char *const types[] = {"view", "click", "cart", "buy", "search", "login"};
    for (uint64_t i = 0; i < count; i++) {
        put_text("{\"id\":");
        put_number(i + 1);
        put_text(",\"ts\":\"2024-03-");
        put_padded(1 + random_below(31), 2);
        out[out_size++] = 'T';
        put_padded(random_below(24), 2);
        out[out_size++] = ':';
        put_padded(random_below(60), 2);
        put_text(":00Z\",\"user\":\"user ");
        put_number(1 + random_below(100000));
        put_text("\",\"type\":\"");
        put_text(types[random_below(6)]);
        put_text("\",\"amount\":");
        put_decimal(random_below(100000), 2);
        put_text(random_below(2) ? ",\"mobile\":true" : ",\"mobile\":false");
        put_text(",\"tags\":[\"a");
        put_number(random_below(50));
        put_text("\",\"b\"],\"geo\":{\"country\":\"");
        put_text(countries[random_below(20)]);
        put_text("\",\"zip\":");
        put_number(10000 + random_below(90000));
        put_text("}}");
        end_line();
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*generate)(uint64_t count);
    } kinds[] = {{"words", generate_words},         {"log", generate_log},
                 {"lines", generate_lines},         {"pairs", generate_pairs},
                 {"groups", generate_groups},       {"users", generate_users},
                 {"purchases", generate_purchases}, {"purchases_hot", generate_purchases_hot},
                 {"events", generate_events}};
    char *end = NULL;
    uint64_t count = argc == 3 ? strtoull(argv[2], &end, 10) : 0;
    for (size_t i = 0; count && !*end && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(argv[1], kinds[i].name) == 0) {
            random_state = 20240601 + i;
            kinds[i].generate(count);
            flush();
            if (fflush(stdout) != 0)
                fail("cannot write");
            return 0;
        }
    fprintf(stderr,
            "usage: generate words|log|lines|pairs|groups|users|purchases|purchases_hot|events "
            "COUNT > file\n");
    return 2;
}
