local GLOBAL = { renew = true, lead = true, resign = true, expired = true, due = true, expire = true, suspects = true,
  resend = true, enlist = true, delist = true, claim_calls = true, report_call = true, release_call = true,
  drop_call = true, redeliver = true }
if GLOBAL[command] then return commands[command](unpack(ARGV, 3)) end
enter(ARGV[3])
return commands[command](unpack(ARGV, 4))
