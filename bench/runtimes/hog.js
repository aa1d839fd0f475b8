"use strict";
// Fills parts of a Node process as its arguments say, prints what it got, waits for a line on stdin, ends.
//   heap=MIB|all     live objects in the JavaScript heap
//   garbage=MIB      objects that are dropped at once
//   buffers=MIB      Buffers, outside of the heap
//   workers=N:MIB    worker threads, each with MIB of live objects
const worker = require("node:worker_threads");

const held = [];
function heap(mib, keep) {
  const target = mib === "all" ? Infinity : Number(mib) * 16;
  for (let i = 0; i < target; i++) {
    const piece = new Array(8190);
    for (let at = 0; at < 8190; at++) piece[at] = at; // 8 bytes each: 64 KiB
    if (keep) held.push(piece);
  }
}
function buffers(mib) {
  for (let i = 0; i < Number(mib); i++) held.push(Buffer.alloc(1 << 20, 1));
}
async function workers(spec) {
  const [count, mib] = spec.split(":");
  for (let i = 0; i < Number(count); i++) {
    const one = new worker.Worker(__filename, { workerData: mib });
    held.push(one);
    await new Promise((up) => one.once("message", up));
  }
}
async function main() {
  for (const arg of process.argv.slice(2)) {
    const [kind, amount] = arg.split("=");
    if (kind === "heap") heap(amount, true);
    else if (kind === "garbage") heap(amount, false);
    else if (kind === "buffers") buffers(amount);
    else if (kind === "workers") await workers(amount);
    else throw new Error(arg);
  }
  const stats = require("node:v8").getHeapStatistics();
  console.log("ready", JSON.stringify({ limit: stats.heap_size_limit, used: stats.used_heap_size }));
  process.stdin.once("data", () => process.exit(0));
}
if (worker.isMainThread) main();
else {
  heap(worker.workerData, true);
  worker.parentPort.postMessage("up");
  setInterval(() => {}, 1 << 30);
}
