// A picture of each person of a video before it is played: from the moment their face is best seen.

import { el } from "./dom.js";

const PATIENCE_MS = 10_000; // for a moment that a browser cannot seek to

/** Draw each person's card that is still blank; ends when all are, or `signal` says so. */
export async function portraits(url, frames, cards, signal) {
  const video = el("video", { src: url, preload: "auto", muted: true, playsinline: true });
  try {
    await once(video, ["loadedmetadata", "error"], signal);
    for (const [track, { time_s: time, box }] of bestMoments(frames)) {
      const card = cards.get(track);
      if (!card?.blank) continue;
      // A little later, for a time rounded down would show the frame before.
      video.currentTime = time + 1e-3;
      await once(video, ["seeked", "error"], signal);
      if (signal.aborted || video.error) return;
      if (video.readyState > 1 && card.blank) card.look(video, box);
    }
  } finally {
    video.removeAttribute("src");
    video.load();
  }
}

/** By number of each person, in order of time: the moment of the surest reading, else of the largest face. */
function bestMoments(frames) {
  const best = new Map();
  for (const { time_s, faces } of frames) {
    for (const { track, box, probabilities } of faces) {
      const sure = probabilities ? Math.max(...Object.values(probabilities)) : 0;
      const size = box[2] - box[0], known = best.get(track);
      if (!known || sure > known.sure + 0.01 || (!sure && !known.sure && size > known.size)) {
        best.set(track, { time_s, box, sure, size });
      }
    }
  }
  return [...best].sort((a, b) => a[1].time_s - b[1].time_s);
}

function once(target, names, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      for (const name of names) target.removeEventListener(name, done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, PATIENCE_MS);
    for (const name of names) target.addEventListener(name, done);
    signal.addEventListener("abort", done);
  });
}
