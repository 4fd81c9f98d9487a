-- Drives wrk. With MEASURE_BODIES, a file of one body a line, each request posts the next body; each thread has its share.
-- MEASURE_ONCE: no body is used twice; a thread that has none left stops. MEASURE_PAUSE: each connection rests this many
-- milliseconds on average before each request, from none to twice as many, so that they do not come all at once. The last line of the output is what the benchmark reads.

local file = os.getenv("MEASURE_BODIES")
local count = tonumber(os.getenv("MEASURE_THREADS"))
local once = os.getenv("MEASURE_ONCE") ~= nil
local pause = tonumber(os.getenv("MEASURE_PAUSE"))
local threads = {}

function setup(thread)
   thread:set("number", #threads)
   table.insert(threads, thread)
end

if file then
   function init(_)
      wrk.method = "POST"
      wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
      bodies, at, exhausted, sent = {}, 0, 0, 0
      local line_number = 0
      for line in io.lines(file) do
         if line_number % count == number then
            bodies[#bodies + 1] = line
         end
         line_number = line_number + 1
      end
   end

   function request()
      at, sent = at + 1, sent + 1
      if at > #bodies then
         if once then
            exhausted = 1
            wrk.thread:stop()
            at = #bodies
         else
            at = 1
         end
      end
      return wrk.format(nil, nil, nil, bodies[at])
   end
end

if pause then
   function delay()
      return math.random(0, 2 * pause)
   end
end

function done(summary, latency, _)
   local exhausted, sent = 0, 0
   for _, thread in ipairs(threads) do
      exhausted = exhausted + (thread:get("exhausted") or 0)
      sent = sent + (thread:get("sent") or 0)
   end
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests":%d,"micros":%d,"p50":%d,"p99":%d,"max":%d,"broken":%d,"refused":%d,"timeouts":%d,"exhausted":%d,"sent":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
      errors.connect + errors.read + errors.write, errors.status, errors.timeout, exhausted, sent))
end
