-- What wrk asks, for the cases in which requests differ: `wrk -s requests.lua URL -- routes 10`, or `clients 1000`.
-- Clients come in an order in which neighbours are far apart, and all of them before one comes again.
local stride = 400009

function init(arguments)
  local kind, count = arguments[1], tonumber(arguments[2])
  -- wrk is started anew for each turn of a proxy, which begins with other clients than the one before.
  local turn = os.time() * 7919 % count
  if kind == "routes" then
    local all = {}
    for i = 0, count - 1 do all[i] = wrk.format("GET", "/routes/" .. i) end
    request = function()
      turn = (turn + stride) % count
      return all[turn]
    end
  elseif kind == "clients" then
    local head, tail = wrk.format():match("^(.*\r\n)(\r\n)$")
    request = function()
      turn = (turn + stride) % count
      return head .. "X-Client: " .. turn .. tail:rep(2)
    end
  end
end
