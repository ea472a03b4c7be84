// Previews of the video: key frames on sheets, for moments that the video has not been sought to.

import { getSheet } from "./api.js";
import { source, store } from "./store.js";

/** By time: { time, bitmap, x, y, width, height }. */
let previews = [], turn = 0, started = -1;

/** Forget all previews: another source. */
export function forgetPreviews() {
  turn += 1;
  for (const bitmap of new Set(previews.map((one) => one.bitmap))) bitmap.close();
  previews = [];
}

/** Fetch the sheets one after another; each is spread over the whole video. */
export async function loadPreviews() {
  const own = turn;
  if (!source().video || started === own) return;
  started = own;
  for (let number = 0, sheets = 1; number < sheets; number += 1) {
    let sheet = null;
    try {
      sheet = await getSheet(store.number, number);
    } catch {
      return; // the video alone is shown, as it is sought
    }
    if (own !== turn || !sheet) return;
    sheets = sheet.sheets;
    const [width, height] = sheet.size, across = sheet.bitmap.width / width;
    const found = sheet.times.map((time, place) => ({
      time, bitmap: sheet.bitmap, x: (place % across) * width, y: Math.floor(place / across) * height, width, height,
    }));
    previews = [...previews, ...found].sort((a, b) => a.time - b.time);
    document.body.dataset.previews = number + 1 < sheets ? "some" : "all";
  }
}

/** The preview nearest to a moment, or null. */
export function previewAt(time) {
  let low = 0, high = previews.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (previews[middle].time <= time) low = middle + 1;
    else high = middle;
  }
  const [before, after] = [previews[low - 1], previews[low]];
  if (!before || !after) return before ?? after ?? null;
  return time - before.time <= after.time - time ? before : after;
}
