-- Word count with native verbs only. Arguments: input.
local lb = require "luabatch"

return lb.text(arg[1]):words():value_counts()
