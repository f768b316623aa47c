--- Completion of the command line for shells: `luabatch completion bash|zsh|fish`.
-- @module luabatch.completion
local options = require "luabatch.options"

local completion = {}

completion.shells = { "bash", "zsh", "fish" }

-- What stands in place of a script.
local COMMANDS = { { "config", "every setting and where it comes from" }, { "completion", "what completes the command line in a shell" } }

local function quoted(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local scripts = {}

function scripts.bash()
  local cases, flags = {}, {}
  for _, option in ipairs(options.list) do
    local flag = option.name and "--" .. option.name or "-" .. option.letter
    flags[#flags + 1] = flag
    if option.choices then
      cases[#cases + 1] = ("    %s) COMPREPLY=($(compgen -W %s -- \"$word\")); return ;;"):format(flag,
        quoted(table.concat(option.choices, " ")))
    elseif option.is_path then
      cases[#cases + 1] = ("    %s) COMPREPLY=($(compgen -f -- \"$word\")); return ;;"):format(flag)
    elseif option.value then
      cases[#cases + 1] = ("    %s) return ;;"):format(flag)
    end
  end
  local commands = {}
  for i, command in ipairs(COMMANDS) do commands[i] = command[1] end
  return ([==[
# Completion of luabatch for bash: source <(luabatch completion bash)
_luabatch() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
  # bash cuts words at "="
  if [[ $word == = ]]; then word=; elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi
  case $before in
%s
    completion) COMPREPLY=($(compgen -W %s -- "$word")); return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W %s -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
    if ((COMP_CWORD == 1)); then COMPREPLY+=($(compgen -W %s -- "$word")); fi
  fi
}
complete -o filenames -o bashdefault -F _luabatch luabatch
]==]):format(table.concat(cases, "\n"), quoted(table.concat(completion.shells, " ")), quoted(table.concat(flags, " ")),
    quoted(table.concat(commands, " ")))
end

function scripts.zsh()
  local lines = {}
  for _, option in ipairs(options.list) do
    local flag = option.name and "--" .. option.name or "-" .. option.letter
    local help = option.help:gsub("[%[%]:]", "\\%0")
    local value = ""
    if option.value then
      local what = option.choices and "(" .. table.concat(option.choices, " ") .. ")" or option.is_path and "_files" or " "
      value = (option.value == "optional" and "::" or ":") .. option.shown .. ":" .. what
      if option.value == "optional" then flag = flag .. "=-" elseif option.name then flag = flag .. "=" end
    end
    lines[#lines + 1] = "  " .. quoted(("%s[%s]%s"):format(flag, help, value)) .. " \\"
  end
  local commands = {}
  for i, command in ipairs(COMMANDS) do commands[i] = quoted(command[1] .. ":" .. command[2]) end
  return ([==[
#compdef luabatch
# Completion of luabatch for zsh: luabatch completion zsh > a directory of $fpath/_luabatch
_luabatch_first() {
  local -a subcommands=(%s)
  _describe command subcommands
  _files -g "*.lua"
}
_luabatch_rest() {
  if [[ $words[2] == completion ]]; then compadd %s; else _files; fi
}
_arguments -s \
%s
  '1:job file or command:_luabatch_first' \
  '*:argument:_luabatch_rest'
]==]):format(table.concat(commands, " "), table.concat(completion.shells, " "), table.concat(lines, "\n"))
end

function scripts.fish()
  local lines = { "# Completion of luabatch for fish: luabatch completion fish | source" }
  for _, option in ipairs(options.list) do
    local flag = option.name and "-l " .. option.name or "-s " .. option.letter
    local value = option.choices and " -x -a " .. quoted(table.concat(option.choices, " "))
      or option.is_path and " -r" or option.value and " -x" or ""
    lines[#lines + 1] = ("complete -c luabatch %s%s -d %s"):format(flag, value, quoted(option.help))
  end
  for _, command in ipairs(COMMANDS) do
    lines[#lines + 1] = ("complete -c luabatch -n __fish_is_first_arg -a %s -d %s"):format(command[1], quoted(command[2]))
  end
  lines[#lines + 1] = ("complete -c luabatch -n '__fish_seen_subcommand_from completion' -f -a %s"):format(
    quoted(table.concat(completion.shells, " ")))
  return table.concat(lines, "\n") .. "\n"
end

--- The script for a shell.
-- @param shell "bash", "zsh" or "fish"
-- @return string, or nil and a message
function completion.script(shell)
  if scripts[shell] then return scripts[shell]() end
  return nil, ("completion: '%s' expected, got %s%s"):format(table.concat(completion.shells, "', '"),
    shell and "'" .. shell .. "'" or "nothing", shell and require("luabatch.suggest").hint(shell, completion.shells) or "")
end

return completion
