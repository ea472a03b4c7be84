// A thumbnail of each person of a video before it is played, from the frame that shows them best.

import { el } from "./dom.js";

const TIMEOUT_MS = 10_000; // for a time that a browser cannot seek to

/** Draw the thumbnails that are still blank, until done or aborted by `signal`. */
export async function portraits(url, frames, cards, signal) {
  const video = el("video", { src: url, preload: "auto", muted: true, playsinline: true });
  try {
    await once(video, ["loadedmetadata", "error"], signal);
    for (const [track, { time_s: time, box }] of bestMoments(frames)) {
      const card = cards.get(track);
      if (!card?.blank) continue;
      // Slightly later: a time that was rounded down would show the frame before.
      video.currentTime = time + 1e-3;
      await once(video, ["seeked", "error"], signal);
      if (signal.aborted || video.error) return;
      if (video.readyState > 1 && card.blank) card.updateCrop(video, box);
    }
  } finally {
    video.removeAttribute("src");
    video.load();
  }
}

/** For each track, in order of time: the frame of highest probability, else of the largest face. */
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
    const timer = setTimeout(done, TIMEOUT_MS);
    for (const name of names) target.addEventListener(name, done);
    signal.addEventListener("abort", done);
  });
}
