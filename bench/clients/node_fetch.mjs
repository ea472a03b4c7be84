// Uploads a file many times at once with Node's fetch; run by bench/refused.py.
//
//     node node_fetch.mjs URL FILE COUNT
//
// Prints the same JSON as upload.py.
import { readFileSync } from "node:fs";

const [url, file, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const body = readFileSync(file);
const statuses = {}, refused_s = [];
let without_retry_after = 0;

async function one() {
  const started = performance.now();
  try {
    const answer = await fetch(url, { method: "POST", body });
    await answer.arrayBuffer();
    statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
    if (answer.status === 429 || answer.status === 503) {
      refused_s.push((performance.now() - started) / 1e3);
      if (!answer.headers.has("retry-after")) without_retry_after += 1;
    }
  } catch (error) {
    const name = error.cause?.code ?? error.name;
    statuses[name] = (statuses[name] ?? 0) + 1;
  }
}

await Promise.all(Array.from({ length: count }, one));
console.log(JSON.stringify({ statuses, without_retry_after, refused_s }));
