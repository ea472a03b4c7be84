// Minimum-cost assignment by the Hungarian method with potentials, one shortest augmenting path per
// row, as mien.video.assign.

/** Pairs [row, column] of minimum total cost, as many as the shorter side. */
export function assign(costs) {
  const n = costs.length, m = n ? costs[0].length : 0;
  if (!n || !m) return [];
  if (n > m) {
    const turned = costs[0].map((_, j) => costs.map((row) => row[j]));
    return assign(turned).map(([row, column]) => [column, row]);
  }
  const rowPrice = new Float64Array(n + 1), columnPrice = new Float64Array(m + 1);
  const owner = new Int32Array(m + 1); // the row, from 1, that has each column; 0: none
  for (let row = 1; row <= n; row++) {
    owner[0] = row;
    let [column, before] = path(costs, rowPrice, columnPrice, owner);
    for (; column; column = before[column]) owner[column] = owner[before[column]];
  }
  const pairs = [];
  for (let j = 1; j <= m; j++) if (owner[j]) pairs.push([owner[j] - 1, j - 1]);
  return pairs;
}

/** A free column, and for each column the one before it on the shortest path. */
function path(costs, rowPrice, columnPrice, owner) {
  const m = costs[0].length;
  const shortest = new Float64Array(m + 1).fill(Infinity), before = new Int32Array(m + 1);
  const used = new Uint8Array(m + 1);
  let column = 0;
  while (owner[column]) {
    used[column] = 1;
    const row = owner[column];
    let delta = Infinity, next = 0;
    for (let j = 1; j <= m; j++) {
      if (used[j]) continue;
      const reduced = costs[row - 1][j - 1] - rowPrice[row] - columnPrice[j];
      if (reduced < shortest[j]) {
        shortest[j] = reduced;
        before[j] = column;
      }
      if (shortest[j] < delta) {
        delta = shortest[j];
        next = j;
      }
    }
    for (let j = 0; j <= m; j++) {
      if (used[j]) {
        rowPrice[owner[j]] += delta;
        columnPrice[j] -= delta;
      } else shortest[j] -= delta;
    }
    column = next;
  }
  return [column, before];
}
