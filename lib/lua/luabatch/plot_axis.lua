--- Numbers for people: round steps along an axis, short labels.
-- @module luabatch.plot_axis
local axis = {}

--- A number in few digits: 1234567 -> "1.23M".
function axis.short(x)
  local size = math.abs(x)
  if size >= 1e15 or size > 0 and size < 1e-4 then return ("%.3g"):format(x) end
  for _, unit in ipairs { { 1e12, "T" }, { 1e9, "G" }, { 1e6, "M" }, { 1e4, "k" } } do
    if size >= unit[1] then
      local scale = unit[2] == "k" and 1e3 or unit[1]
      return (("%.2f"):format(x / scale):gsub("%.?0+$", "")) .. unit[2]
    end
  end
  local text = ("%.4g"):format(x)
  return text == "-0" and "0" or text
end

--- A time in seconds as far as the range needs it.
function axis.time(seconds, span)
  local format = span > 2 * 86400 and "!%Y-%m-%d" or span > 120 and "!%m-%d %H:%M" or "!%H:%M:%S"
  return os.date(format, math.floor(seconds))
end

--- Labels of numbers, or of times.
-- @return function(number) -> string
function axis.labels(least, greatest, is_time)
  if is_time then return function(x) return axis.time(x, greatest - least) end end
  return axis.short
end

--- Round numbers from least to greatest, about n of them.
-- Heckbert, "Nice numbers for graph labels", Graphics Gems (1990).
function axis.ticks(least, greatest, n)
  if not (greatest > least) then return { least } end
  local rough = (greatest - least) / n
  local power = 10 ^ math.floor(math.log(rough, 10))
  local step = power
  for _, factor in ipairs { 1, 2, 5, 10 } do
    step = factor * power
    if step >= rough * 0.999 then break end
  end
  local ticks = {}
  for k = math.ceil(least / step), math.floor(greatest / step) do ticks[#ticks + 1] = k * step end
  return ticks
end

return axis
