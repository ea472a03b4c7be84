// The sampling interval of a source, as mien.video.pace: timeouts are never shorter than some
// intervals, so that a source read once a second loses nobody between two frames.

import { LOST_INTERVALS, RECENT_STEPS } from "../constants.js";

/** The median of the last five steps between frames, in seconds; 0 before the second frame. */
export class SamplingInterval {
  constructor() {
    this.last = null;
    this.steps = [];
    this.seconds = 0;
  }

  /** Add the time of a frame; returns the interval. */
  add(time) {
    if (this.last !== null) {
      this.steps = [...this.steps, time - this.last].slice(-RECENT_STEPS);
      const sorted = [...this.steps].sort((a, b) => a - b);
      this.seconds = sorted[(sorted.length - 1) >> 1];
    }
    this.last = time;
    return this.seconds;
  }
}

/** After how many seconds without a detection a track is lost, at a sampling interval. */
export function lostAfter(lost, interval) {
  return Math.max(lost, LOST_INTERVALS * interval);
}
