// Many uploads at once with Node's fetch; see bench/refused.py for the arguments and the answer.
import { readFileSync } from "node:fs";

const [url, file, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const body = readFileSync(file);
const statuses = {}, refused = [];
let bare = 0;

async function one() {
  const began = performance.now();
  try {
    const answer = await fetch(url, { method: "POST", body });
    await answer.arrayBuffer();
    statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
    if (answer.status === 429 || answer.status === 503) {
      refused.push((performance.now() - began) / 1e3);
      if (!answer.headers.has("retry-after")) bare += 1;
    }
  } catch (error) {
    const name = error.cause?.code ?? error.name;
    statuses[name] = (statuses[name] ?? 0) + 1;
  }
}

await Promise.all(Array.from({ length: count }, one));
console.log(JSON.stringify({ statuses, bare, refused }));
