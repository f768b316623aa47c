-- Cohorts: of the users who bought first in some month, how many per cent bought again one, two, three months later?
-- luabatch examples/cohorts.lua examples/data/shop.csv
local lb = require "luabatch"

local MONTHS = 5
local purchases = lb.csv(arg[1]) -- date, user, item, amount

local first = purchases:group_by("user"):agg { first = lb.min "date" }

local months = {}
for month = 0, MONTHS do months[month + 1] = month end

local cohorts = purchases:join(first, { on = "user" })
  :select("user", { cohort = "substr(date_trunc('month', first), 1, 7)", month = "date_diff('month', first, date)" })
  :pivot {
    index = "cohort", columns = "month", names = months, values = lb.count_distinct "user", fill = 0,
    name = function(month) return "+" .. month end,
  }

local rates = {}
for month = 1, MONTHS do
  rates[("+%d"):format(month)] = ('round(100.0 * "+%d" / "+0")::integer'):format(month)
end
cohorts:select("cohort", { users = '"+0"' }, rates):order_by("cohort"):show()
