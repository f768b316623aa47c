--- What Lua 5.4 and LuaJIT name differently, or only one of them has, for the library's own use.
-- @module luabatch.compat
local core = require "luabatch.core"

local missing = core.missing or {}
local compat = {
  unpack = table.unpack or unpack, -- luacheck: globals unpack
  pack = table.pack or missing.pack,
  math_type = math.type or missing.type,
  tointeger = math.tointeger or missing.tointeger,
  mininteger = math.mininteger or -2 ^ 53,
}

if math.maxinteger then
  compat.number = tonumber
  compat.char = utf8.char
  function compat.is_int64() return false end
  function compat.float(number) return number end
else
  -- Without integers of its own: text that is one, and too large for a double, becomes int64_t; a double of the FFI
  -- stays a float though its value is whole.
  local ffi = require "ffi"
  local double, int64 = ffi.typeof "double", ffi.typeof "int64_t"

  --- A number that the engine sees as a float, whole or not.
  compat.float = double

  --- Integers of 64 bits, of numbers and int64_t.
  compat.int64 = int64

  --- Whether a value is an integer that is no number.
  function compat.is_int64(value)
    return type(value) == "cdata" and compat.math_type(value) == "integer"
  end

  --- As tonumber; the engine sees integers as integers and floats as floats.
  function compat.number(text)
    local value = tonumber(text)
    local sign, digits = text:match "^%s*(%-?)(%d+)%s*$"
    if not digits then return value and compat.math_type(value) == "integer" and double(value) or value end
    if value > -2 ^ 53 and value < 2 ^ 53 then return value end
    digits = digits:gsub("^0+", "")
    local most = sign == "-" and "9223372036854775808" or "9223372036854775807"
    if #digits > #most or #digits == #most and digits > most then return double(value) end
    local integer = int64(0)
    for digit in digits:gmatch "%d" do integer = integer * 10 - tonumber(digit) end
    return sign == "-" and integer or -integer
  end

  --- The character of that code in UTF-8; of up to three bytes.
  function compat.char(code)
    if code < 0x80 then return string.char(code) end
    if code < 0x800 then return string.char(0xc0 + math.floor(code / 64), 0x80 + code % 64) end
    return string.char(0xe0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end
end

return compat
