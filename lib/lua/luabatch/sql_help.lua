--- What the functions of SQL expressions do, a line for each: how it is written; what it gives; an example; its value as JSON. For the
-- REPL's :help. Other names of a function show the line of the one that they stand for.
-- @module luabatch.sql_help
local sql_help = {}

local lines = [[
abs(x); x without its sign; abs(-3); 3
ceil(x); the least whole number that is not below x; ceil(2.1); 3.0
floor(x); the greatest whole number that is not above x; floor(-2.1); -3.0
trunc(x); x without its fraction; trunc(-2.7); -2.0
round(x, digits); x rounded, halves away from zero; digits may be left out; round(2.345, 1); 2.3
sign(x); -1, 0 or 1; sign(-2.5); -1
mod(a, b); the rest of a / b, as a % b; mod(-7, 3); 2
sqrt(x); the square root; sqrt(9); 3.0
cbrt(x); the cube root; cbrt(27); 3.0
exp(x); e to the power of x; exp(0); 1.0
ln(x); the natural logarithm; ln(1); 0.0
log2(x); the logarithm of base 2; log2(8); 3.0
log10(x); the logarithm of base 10; log10(1000); 3.0
log(base, x); the logarithm of that base; log(x) is of base 10; log(2, 8); 3.0
power(a, b); a to the power of b, as a ^ b; power(2, 10); 1024.0
sin(x); of an angle in radians; sin(0); 0.0
cos(x); of an angle in radians; cos(0); 1.0
tan(x); of an angle in radians; tan(0); 0.0
asin(x); the angle in radians; asin(0); 0.0
acos(x); the angle in radians; acos(1); 0.0
atan(x); the angle in radians; atan(0); 0.0
atan2(y, x); the angle of the point (x, y) in radians; atan2(0, 1); 0.0
sinh(x); the hyperbolic sine; sinh(0); 0.0
cosh(x); the hyperbolic cosine; cosh(0); 1.0
tanh(x); the hyperbolic tangent; tanh(0); 0.0
degrees(x); radians as degrees; degrees(pi()); 180.0
radians(x); degrees as radians; radians(0); 0.0
pi(); 3.14159...; round(pi(), 2); 3.14
isnan(x); whether a float is no number; isnan(1.5); false
isinf(x); whether a float is infinite; isinf(1.5); false
isfinite(x); whether it is neither; isfinite(1.5); true
gcd(a, b); the greatest common divisor; gcd(12, 18); 6
lcm(a, b); the least common multiple; lcm(4, 6); 12
bit_and(a, b); the bits that are in both; bit_and(6, 3); 2
bit_or(a, b); the bits that are in one or both; bit_or(6, 3); 7
bit_xor(a, b); the bits that are in one only; bit_xor(6, 3); 5
shift_left(a, n); the bits n places to the left; shift_left(1, 4); 16
shift_right(a, n); the bits n places to the right; shift_right(16, 4); 1
bit_count(a); the number of bits that are 1; bit_count(7); 3
lower(s); ASCII letters made small; lower('ABC'); "abc"
upper(s); ASCII letters made capital; upper('abc'); "ABC"
initcap(s); each word with a capital; initcap('ada lovelace'); "Ada Lovelace"
length(s); the bytes of a text, or the elements of a list; length('abc'); 3
char_length(s); the UTF-8 characters of a text; char_length('é'); 1
substr(s, from, n); n bytes (or all) from a position, which begins at 1 or, from the end, at -1; substr('kettle', 2, 3); "ett"
left(s, n); the first n bytes; left('kettle', 3); "ket"
right(s, n); the last n bytes; right('kettle', 3); "tle"
trim(s, bytes); without blanks, or these bytes, at both ends; trim('  a '); "a"
ltrim(s, bytes); the same at the beginning; ltrim('xxa', 'x'); "a"
rtrim(s, bytes); the same at the end; rtrim('axx', 'x'); "a"
lpad(s, n, fill); made n bytes long at the left; lpad('7', 3, '0'); "007"
rpad(s, n, fill); made n bytes long at the right; rpad('7', 3, '.'); "7.."
repeat(s, n); n times; repeat('ab', 2); "abab"
reverse(s); the bytes in reverse order; reverse('abc'); "cba"
replace(s, old, new); each old replaced; replace('a-b-c', '-', '+'); "a+b+c"
translate(s, from, to); each byte of from replaced by the one at its place in to; translate('abc', 'ab', 'xy'); "xyc"
concat(a, ...); the texts together, nil passed over; concat('a', 1, null); "a1"
concat_ws(sep, ...); the same with something between them; concat_ws('-', 'a', 'b'); "a-b"
split(s, sep); a list of the parts; split('a,b', ','); ["a","b"]
split_part(s, sep, n); the n-th part; split_part('a,b', ',', 2); "b"
starts_with(s, part); whether s begins so; starts_with('kettle', 'ket'); true
ends_with(s, part); whether s ends so; ends_with('kettle', 'tle'); true
contains(s, part); whether part is in s; contains('kettle', 'tt'); true
instr(s, part); the position of part in s, else 0; also position(part in s); instr('kettle', 'tt'); 3
ascii(s); the number of the first byte; ascii('A'); 65
chr(n); the character of a number; chr(65); "A"
printf(format, ...); as string.format; printf('%05.1f', 2.25); "002.2"
regexp_matches(s, pattern, flags); whether the pattern is found in s, as s rlike pattern; regexp_matches('kettle', 't+'); true
regexp_full_match(s, pattern, flags); whether it is all of s; regexp_full_match('kettle', 't+'); false
regexp_count(s, pattern, flags); how often it is found; regexp_count('kettle', '[et]'); 4
regexp_extract(s, pattern, group, flags); what it, or a group of it, found; regexp_extract('id=42', 'id=(\d+)', 1); "42"
regexp_extract_all(s, pattern, group, flags); a list of all that it found; regexp_extract_all('1 22', '\d+'); ["1","22"]
regexp_replace(s, pattern, new, flags); the first match (flag g: each) replaced; regexp_replace('a1b2', '\d', '#', 'g'); "a#b#"
regexp_split(s, pattern, flags); a list of what is between the matches; regexp_split('a, b', ',\s*'); ["a","b"]
md5(s); the digest in hexadecimal; left(md5('a'), 8); "0cc175b9"
sha1(s); the digest in hexadecimal; left(sha1('a'), 8); "86f7e437"
sha256(s); the digest in hexadecimal; left(sha256('a'), 8); "ca978112"
sha2(s, bits); the digest of 224, 256, 384 or 512 bits; length(sha2('a', 512)); 128
hash(x); an integer of any value, always the same; hash('a') = hash('a'); true
hex(s); the bytes in hexadecimal; hex('AZ'); "415A"
unhex(s); the bytes of hexadecimal digits; unhex('415A'); "AZ"
base64(s); the bytes in base 64; base64('abc'); "YWJj"
from_base64(s); the bytes of base 64; from_base64('YWJj'); "abc"
coalesce(a, ...); the first that is not nil; coalesce(null, 2, 3); 2
ifnull(a, b); a, or b where a is nil; ifnull(null, 2); 2
nullif(a, b); nil where a = b, else a; nullif(3, 4); 3
least(a, ...); the least that is not nil; least(3, 1, 2); 1
greatest(a, ...); the greatest that is not nil; greatest(3, 1, 2); 3
if(condition, a, b); a where the condition is true, else b; if(2 > 1, 'yes', 'no'); "yes"
typeof(x); the name of its type; typeof(1.5); "float"
element(t, key); what is in a list or map, as t[key]; element(split('a,b', ','), 2); "b"
list_contains(list, x); whether x is in the list; list_contains(split('a,b', ','), 'b'); true
year(t); of a time; year('2024-03-05'); 2024
quarter(t); 1 to 4; quarter('2024-03-05'); 1
month(t); 1 to 12; month('2024-03-05'); 3
week(t); the week of ISO 8601; week('2024-03-05'); 10
day(t); of the month; day('2024-03-05'); 5
hour(t); 0 to 23; hour('2024-03-05T07:08:09'); 7
minute(t); 0 to 59; minute('2024-03-05T07:08:09'); 8
second(t); 0 to 59; second('2024-03-05T07:08:09'); 9
dayofweek(t); 0 (Sunday) to 6; dayofweek('2024-03-05'); 2
isodow(t); 1 (Monday) to 7; isodow('2024-03-05'); 2
dayofyear(t); 1 to 366; dayofyear('2024-03-05'); 65
isoyear(t); the year that the week of ISO 8601 belongs to; isoyear('2024-12-30'); 2025
monthname(t); in English; monthname('2024-03-05'); "March"
dayname(t); in English; dayname('2024-03-05'); "Tuesday"
date(t); the day of a time; date('2024-03-05T07:08'); "2024-03-05"
last_day(t); the last day of its month; last_day('2024-02-05'); "2024-02-29"
make_date(y, m, d); a day; make_date(2024, 3, 5); "2024-03-05"
date_trunc(unit, t); the beginning of its year, quarter, month, week, day, hour, ...; date_trunc('month', '2024-03-05'); "2024-03-01"
date_add(t, days); so many days later; also date_add(unit, n, t); date_add('2024-02-28', 2); "2024-03-01"
date_sub(t, days); so many days earlier; also date_sub(unit, n, t); date_sub('2024-03-01', 1); "2024-02-29"
date_diff(unit, from, to); the borders of units between two times; date_diff('day', '2024-02-28', '2024-03-01'); 2
epoch(t); the seconds since 1970; epoch('1970-01-02'); 86400
to_timestamp(seconds); a time of seconds since 1970; year(to_timestamp(0)); 1970
strftime(t, format); a time as text; strftime('2024-03-05', '%d.%m.%Y'); "05.03.2024"
strptime(text, format); a time from text, an error where it does not fit; strptime('5.3.2024', '%d.%m.%Y'); "2024-03-05"
try_strptime(text, format); the same, nil where it does not fit; try_strptime('x', '%Y'); null
time_like(t, sample); a time in the form of another; time_like(0, '2024-01-01'); "1970-01-01"
folder_name(name, value); the folder that partition_by makes for a value; folder_name('year', 2024); "year=2024"
cast(x as type); x as integer, float, string, boolean or date, an error where it cannot be; cast('7' as integer); 7
try_cast(x as type); the same, nil where it cannot be; try_cast('x' as integer); null
position(part in s); the position of part in s, else 0; position('tt' in 'kettle'); 3
extract(unit from t); year, month, day, hour, ... of a time; extract(year from '2024-03-05'); 2024
date_part(unit, t); the same; date_part('year', '2024-03-05'); 2024
]]

local entries

--- What is known about functions.
-- @return map from name to `{ title =, text =, example =, gives = }`
function sql_help.entries()
  if entries then return entries end
  entries = {}
  for line in lines:gmatch "[^\n]+" do
    -- The text may have a semicolon, the title, example and value have none.
    local title, text, example, gives = line:match "^(.-%)); (.*); ([^;]+); ([^;]+)$"
    entries[title:match "^[%w_]+"] = { title = title, text = text, example = example, gives = gives }
  end
  return entries
end

--- The help about a function, or nil.
function sql_help.topic(name)
  local known = require("luabatch.sql").function_named(name:lower())
  local entry = known and sql_help.entries()[known]
  if not entry then return nil end
  return ("in SQL expressions: %s\n  %s%s\n  example: %s gives %s"):format(entry.title, entry.text,
    known ~= name:lower() and (" (%s is another name of it)"):format(name:lower()) or "", entry.example, entry.gives)
end

return sql_help
