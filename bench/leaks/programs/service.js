// A service with tunable memory, in Node. Arguments: key=value, sizes in KiB, times in seconds; see ../plan.py.
// It behaves like service.py; garbage is left to V8.
'use strict';
const UNIT = 16;
const p = Object.fromEntries(process.argv.slice(2).map((word) => word.split('=')));
const value = (key, or = 0) => Number(p[key] ?? or);
const size = (key) => value(key) / UNIT;

let state = (Number(p.seed) * 2654435761) >>> 0;
function random() { // mulberry32
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const gauss = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

// One object on V8's heap: an array of doubles.
const chunk = () => new Array(UNIT * 128 - 8).fill(random());

function resize(held, units) {
  while (held.length < Math.floor(units)) held.push(chunk());
  while (held.length > units) {
    const at = Math.floor(random() * held.length);
    held[at] = held[held.length - 1];
    held.pop();
  }
}

const base = [], warm = [], held = [], pool = [], batch = [], step = [], leaked = [];
const cache = new Map();
const start = process.hrtime.bigint();
let last = 0, noise = 0, pending = 0, garbage = 0, leakDebt = 0, sink = null;
resize(base, size('base'));
setInterval(() => {
  const t = Number(process.hrtime.bigint() - start) / 1e9;
  const dt = t - (last || t);
  last = t;
  noise = 0.9 * noise + 0.1 * gauss();
  const load = Math.max(0.05, 1 + value('day') * Math.sin(2 * Math.PI * (t / value('period', 24) + value('phase')))
    + value('noise') * noise);
  resize(warm, size('warm') * (1 - Math.exp(-t / value('warm_tau', 1))));
  resize(held, size('hold') * load);
  resize(pool, Math.max(pool.length, Math.floor(size('pool') * Math.min(load, 1.6) / 1.6)));
  for (pending += size('cache_rate') * load * dt; pending >= 1; pending--) {
    const key = Math.floor(size('cache_keys') * random() ** value('skew', 1));
    const entry = cache.get(key) ?? chunk();
    cache.delete(key);
    cache.set(key, entry);
    if (cache.size > size('cache')) cache.delete(cache.keys().next().value);
  }
  const every = value('batch_every');
  const running = every && (t + every * value('batch_phase')) % every < value('batch_len');
  resize(batch, running ? Math.min(size('batch'), batch.length + size('batch') * dt * 3 / value('batch_len', 1)) : 0);
  if (value('step_at') && t >= value('step_at')) resize(step, size('step'));
  for (garbage += size('garbage') * load * dt; garbage >= 1; garbage--) sink = chunk();
  if (value('leak') && t >= value('leak_at')) {
    leakDebt += size('leak') * dt * (value('leak_traffic') ? load : 1);
    if (leakDebt >= Math.max(1, value('leak_every') * size('leak'))) {
      resize(leaked, leaked.length + Math.floor(leakDebt));
      leakDebt -= Math.floor(leakDebt);
    }
  }
}, 50);
